//! Values that are a text wherever they are stored, sent or configured.

/// For serde's `try_from` and `into`: as `FromStr` reads the text, and as `Display` writes it.
macro_rules! as_text {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = <Self as std::str::FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
pub(super) use as_text;
