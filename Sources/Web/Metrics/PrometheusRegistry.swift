package import CoreMetrics
import Synchronization

/// The process's metrics: a swift-metrics backend that is read in the Prometheus text format. A handle is looked up
/// once, when a `Counter`, `Timer` or `Gauge` is made; recording is an atomic addition. See ADR 0005.
package final class PrometheusRegistry: MetricsFactory, Sendable {
    /// The registry behind `Counter`, `Timer` and `Gauge` of this process, installed on first use.
    package static let process: PrometheusRegistry = {
        let registry = PrometheusRegistry()
        MetricsSystem.bootstrap(registry)
        return registry
    }()

    /// Reads values that others keep, such as the pool's statistics, at the moment of exposition.
    package typealias Collector = @Sendable (inout PrometheusText) -> Void

    private struct State {
        var families: [String: MetricFamily] = [:]
        var collectors: [String: Collector] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// A second collector of the same name replaces the first.
    package func collect(_ name: String, _ collector: @escaping Collector) {
        state.withLock { $0.collectors[name] = collector }
    }

    /// Everything recorded, in the text format 0.0.4, families in alphabetical order.
    package func exposition() -> String {
        let (families, collectors) = state.withLock { ($0.families, $0.collectors) }
        var text = PrometheusText()
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text.type(of: name, family.kind)
            for series in family.series.values.sorted(by: { $0.labels < $1.labels }) {
                series.metric.write(name: name, labels: series.labels, to: &text)
            }
        }
        for (_, collector) in collectors.sorted(by: { $0.key < $1.key }) { collector(&text) }
        return text.text
    }

    private func metric<M: Metric>(_ name: String, _ dimensions: [(String, String)], make: () -> M) -> M {
        let labels = PrometheusText.labels(dimensions)
        return state.withLock { state in
            if let known = state.families[name]?.series[labels]?.metric as? M { return known }
            let metric = make()
            // A name that is already of another kind is a programmer's error; the metric works but is not shown.
            guard state.families[name]?.kind ?? M.kind == M.kind else { return metric }
            state.families[name, default: MetricFamily(kind: M.kind)].series[labels] = MetricSeries(
                labels: labels,
                metric: metric
            )
            return metric
        }
    }

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        metric(PrometheusText.name(label, suffix: "_total"), dimensions, make: CounterMetric.init)
    }

    package func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        let name = PrometheusText.name(label)
        guard aggregate else { return metric(name, dimensions, make: GaugeMetric.init) }
        return metric(name, dimensions) { HistogramMetric(bounds: HistogramMetric.sizes) }
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        metric(PrometheusText.name(label), dimensions, make: GaugeMetric.init)
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        metric(PrometheusText.name(label, suffix: "_seconds"), dimensions) {
            HistogramMetric(bounds: HistogramMetric.seconds)
        }
    }

    // Series stay for the life of the process: a counter that disappears and comes back reads as a reset.
    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}

private struct MetricFamily {
    let kind: PrometheusText.Kind
    var series: [String: MetricSeries] = [:]
}

private struct MetricSeries {
    let labels: String
    let metric: any Metric
}
