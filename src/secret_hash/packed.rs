//! A hash as memory keeps it by the million. PHC strings of one gateway differ in salt and output only: these are kept as
//! bytes, and the rest of the text once for all that share it.

use data_encoding::BASE64_NOPAD;

use super::SALT_BYTES;

/// Argon2's usual output, which is ours.
const OUTPUT_BYTES: usize = 32;
const PACKED_BYTES: usize = SALT_BYTES + OUTPUT_BYTES;

/// Salt and output. Zeros, where the text is not of the usual form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashBytes([u8; PACKED_BYTES]);

/// What of a PHC string is not in its [`HashBytes`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum HashForm {
    /// `$argon2id$v=19$m=64,t=1,p=1`, after which come salt and output, of 16 and of 32 bytes.
    Usual(Box<str>),
    /// Any other text, whole: of another program, or edited.
    Other(Box<str>),
}

impl HashBytes {
    /// Takes a PHC string apart, so that [`HashBytes::to_phc`] gives it back byte for byte, whatever it is.
    pub fn pack(phc: &str) -> (HashForm, Self) {
        match usual(phc) {
            Some((form, bytes)) => (HashForm::Usual(form.into()), bytes),
            None => (HashForm::Other(phc.into()), Self([0; PACKED_BYTES])),
        }
    }

    /// The PHC string.
    pub fn to_phc(self, form: &HashForm) -> String {
        match form {
            HashForm::Usual(form) => {
                let (salt, output) = self.0.split_at(SALT_BYTES);
                format!("{form}${}${}", BASE64_NOPAD.encode(salt), BASE64_NOPAD.encode(output))
            }
            HashForm::Other(phc) => phc.to_string(),
        }
    }
}

/// `None`: it is not of the usual form.
fn usual(phc: &str) -> Option<(&str, HashBytes)> {
    let (rest, output) = phc.rsplit_once('$')?;
    let (form, salt) = rest.rsplit_once('$')?;
    let mut bytes = [0; PACKED_BYTES];
    let (salt_bytes, output_bytes) = bytes.split_at_mut(SALT_BYTES);
    // Strict: of the texts that other decoders take for the same bytes, exactly one passes.
    let decode = |text: &str, into: &mut [u8]| {
        let fits = BASE64_NOPAD.decode_len(text.len()) == Ok(into.len());
        (fits && BASE64_NOPAD.decode_mut(text.as_bytes(), into).is_ok()).then_some(())
    };
    decode(salt, salt_bytes)?;
    decode(output, output_bytes)?;
    Some((form, HashBytes(bytes)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_usual(phc: &str) -> bool {
        let (form, bytes) = HashBytes::pack(phc);
        assert_eq!(bytes.to_phc(&form), phc);
        matches!(form, HashForm::Usual(_))
    }

    #[test]
    fn what_this_program_makes_is_usual() {
        let token = crate::system::new_token_text().unwrap();
        let cost = crate::secret_hash::Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };
        for pepper in [None, Some(crate::domain::secret::Secret::new("pepper mill".to_owned()))] {
            let hasher = crate::secret_hash::SecretHasher::for_tokens(cost, pepper).unwrap();
            assert!(is_usual(&hasher.hash_token(token.presented()).unwrap()));
        }
    }

    #[test]
    fn what_is_one_character_off_is_kept_whole() {
        let (salt, output) = ("AAECAwQFBgcICQoLDA0ODw", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8");
        assert!(is_usual(&format!("$argon2id$v=19$m=64,t=1,p=1${salt}${output}")));
        for other in [
            "".to_owned(),
            "$".to_owned(),
            "$$".to_owned(),
            format!("{salt}${output}"),
            // Bits beyond the last byte, which lenient decoders pass over.
            format!("$x$AAECAwQFBgcICQoLDA0ODx${output}"),
            format!("$x${salt}=${output}"),
            format!("$x${salt}${output}="),
            format!("$x${salt}A${output}"),
            format!("$x${}${output}", &salt[1..]),
            format!("$x${salt}${}", &output[1..]),
            format!("$x${salt}${output} "),
            format!("$x${salt}${output}$"),
            format!("$x$ä{}${output}", &salt[2..]),
        ] {
            assert!(!is_usual(&other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC*", form in "[$a-z0-9=,]{0,40}", salt in "[A-Za-z0-9+/]{20,24}", output in "[A-Za-z0-9+/]{42,44}") {
            is_usual(&text);
            is_usual(&format!("{form}${salt}${output}"));
        }
    }
}
