//! Writes metrics by the library, in whichever format was asked for.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet},
    metrics::MetricType,
    registry::Unit,
};

use crate::telemetry::histogram::{Bounds, Counted};

pub struct Exposition<'a>(DescriptorEncoder<'a>);

/// A metric's name without its unit, and what it is.
pub struct Metric {
    pub name: &'static str,
    pub unit: Option<Unit>,
    pub help: &'static str,
}

/// Names and values. An empty value is the same as none.
pub type Labels<'a> = Vec<(&'static str, Cow<'a, str>)>;

impl Metric {
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: None, help }
    }

    pub const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(Unit::Seconds), help }
    }

    pub const fn bytes(name: &'static str, help: &'static str) -> Self {
        Self { name, unit: Some(Unit::Bytes), help }
    }
}

impl<'a> Exposition<'a> {
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    pub fn counters<'l, V: EncodeCounterValue>(
        &mut self,
        metric: &Metric,
        series: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(metric, MetricType::Counter)?;
        for (labels, value) in series {
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    pub fn gauges<'l, V: EncodeGaugeValue>(
        &mut self,
        metric: &Metric,
        series: impl IntoIterator<Item = (Labels<'l>, V)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(metric, MetricType::Gauge)?;
        for (labels, value) in series {
            encoder.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub fn gauge(&mut self, metric: &Metric, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(metric, [(Labels::new(), value)])
    }

    pub fn histograms<'l>(
        &mut self,
        metric: &Metric,
        bounds: &Bounds,
        series: impl IntoIterator<Item = (Labels<'l>, Counted)>,
    ) -> fmt::Result {
        let mut encoder = self.describe(metric, MetricType::Histogram)?;
        for (labels, counted) in series {
            let classes = counted.classes(bounds);
            let mut encoder = encoder.encode_family(&labels)?;
            encoder.encode_histogram::<NoLabelSet>(counted.seconds(), counted.count(), &classes, None)?;
        }
        Ok(())
    }

    /// A gauge of 1 that says something by its labels.
    pub fn info(&mut self, metric: &Metric, labels: &Labels<'_>) -> fmt::Result {
        self.describe(metric, MetricType::Info)?.encode_info(labels)
    }

    fn describe<'s>(&'s mut self, metric: &'s Metric, kind: MetricType) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(metric.name, metric.help, metric.unit.as_ref(), kind)
    }
}
