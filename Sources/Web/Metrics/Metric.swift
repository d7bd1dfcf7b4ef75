import CoreMetrics
import Synchronization

protocol Metric: AnyObject, Sendable {
    static var kind: PrometheusText.Kind { get }
    func write(name: String, labels: String, to text: inout PrometheusText)
}

final class CounterMetric: Metric, CounterHandler {
    static let kind = PrometheusText.Kind.counter
    private let value = Atomic<Int64>(0)

    func increment(by amount: Int64) { value.wrappingAdd(amount, ordering: .relaxed) }
    func reset() { value.store(0, ordering: .relaxed) }

    func write(name: String, labels: String, to text: inout PrometheusText) {
        text.sample(name, labels: labels, "\(value.load(ordering: .relaxed))")
    }
}

/// A value that goes up and down; for `Gauge` and `Meter`.
final class GaugeMetric: Metric, RecorderHandler, MeterHandler {
    static let kind = PrometheusText.Kind.gauge
    private let bits = Atomic<UInt64>(0)

    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }
    func increment(by amount: Double) { add(amount) }
    func decrement(by amount: Double) { add(-amount) }

    private func add(_ amount: Double) { bits.addDouble(amount) }

    func write(name: String, labels: String, to text: inout PrometheusText) {
        text.sample(name, labels: labels, PrometheusText.number(Double(bitPattern: bits.load(ordering: .relaxed))))
    }
}

/// Counts of observations at or below fixed bounds, and their sum.
final class HistogramMetric: Metric, TimerHandler, RecorderHandler {
    static let kind = PrometheusText.Kind.histogram
    /// From a quarter of a millisecond, because answers are expected within one or two.
    static let seconds: [Double] = [
        0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    static let sizes: [Double] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000]

    private let bounds: [Double]
    private let counts: [Bucket]
    private let sum = Atomic<UInt64>(0)

    private final class Bucket: Sendable {
        let count = Atomic<Int64>(0)
    }

    init(bounds: [Double]) {
        self.bounds = bounds
        counts = (0...bounds.count).map { _ in Bucket() }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        var index = 0
        while index < bounds.count, value > bounds[index] { index += 1 }
        counts[index].count.wrappingAdd(1, ordering: .relaxed)
        sum.addDouble(value)
    }

    /// A series that has observed nothing is left out: most routes never answer most status classes.
    func write(name: String, labels: String, to text: inout PrometheusText) {
        guard counts.contains(where: { $0.count.load(ordering: .relaxed) > 0 }) else { return }
        var cumulative: Int64 = 0
        for (index, bucket) in counts.enumerated() {
            cumulative += bucket.count.load(ordering: .relaxed)
            let bound = index < bounds.count ? PrometheusText.number(bounds[index]) : "+Inf"
            let separator = labels.isEmpty ? "" : ","
            text.sample(name + "_bucket", labels: "\(labels)\(separator)le=\"\(bound)\"", "\(cumulative)")
        }
        let total = Double(bitPattern: sum.load(ordering: .relaxed))
        text.sample(name + "_sum", labels: labels, PrometheusText.number(total))
        text.sample(name + "_count", labels: labels, "\(cumulative)")
    }
}

extension Atomic<UInt64> {
    /// Adds to a Double that is kept as its bit pattern.
    borrowing func addDouble(_ amount: Double) {
        var current = load(ordering: .relaxed)
        while true {
            let next = (Double(bitPattern: current) + amount).bitPattern
            let (exchanged, original) = weakCompareExchange(
                expected: current,
                desired: next,
                ordering: .relaxed
            )
            if exchanged { return }
            current = original
        }
    }
}
