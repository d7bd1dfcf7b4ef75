import Metrics
import Web

/// What became of a request's events. `accepted + duplicates + conflicts + unmatched + rejected` is their number;
/// `unmetered`, `unsubscribed`, `unpriced` and `unsettled` count accepted events with a remark.
package struct IngestReport: Sendable {
    private let counts: [EventStatus: Int]
    private let notices: [EventNotice]
    private let faults: [EventFault]

    /// - Parameter stored: how many events went into the transaction, duplicates included.
    init(stored: Int, notices: [EventNotice], faults: [EventFault]) {
        var counts: [EventStatus: Int] = [.rejected: faults.isEmpty ? 0 : Set(faults.compactMap(\.index)).count]
        for notice in notices {
            counts[notice.status, default: 0] += 1
        }
        let notAccepted = [EventStatus.duplicate, .conflict, .unmatched].reduce(0) { $0 + (counts[$1] ?? 0) }
        counts[.accepted] = stored - notAccepted
        self.counts = counts
        self.notices = notices
        self.faults = faults
    }

    package func count(_ status: EventStatus) -> Int { counts[status] ?? 0 }

    /// The body of the answer.
    package var json: [UInt8] {
        var text = """
            {"accepted":\(count(.accepted)),"duplicates":\(count(.duplicate)),"conflicts":\(count(.conflict)),\
            "unmatched":\(count(.unmatched)),"unmetered":\(count(.unmetered)),"unsubscribed":\(count(.unsubscribed)),\
            "unpriced":\(count(.unpriced)),"unsettled":\(count(.unsettled)),"rejected":\(count(.rejected)),"problems":
            """
        if notices.isEmpty, faults.isEmpty {
            text += "[]}"
            return Array(text.utf8)
        }
        let problems = (notices.map(\.problem) + faults.map(\.problem)).sorted { $0.index < $1.index }
        return Array(text.utf8) + Array(JSONValue.array(problems.map(\.json)).text.utf8) + Array("}".utf8)
    }
}

extension EventNotice {
    fileprivate var problem: (index: Int, json: JSONValue) {
        (
            index,
            .object([
                JSONMember(name: "index", value: .number(String(index))),
                JSONMember(name: "id", value: .string(id)),
                JSONMember(name: "status", value: .string(status.rawValue)),
            ])
        )
    }
}

extension EventFault {
    fileprivate var problem: (index: Int, json: JSONValue) {
        let index = index ?? 0
        return (
            index,
            .object([
                JSONMember(name: "index", value: .number(String(index))),
                JSONMember(name: "id", value: id.map(JSONValue.string) ?? .null),
                JSONMember(name: "status", value: .string(EventStatus.rejected.rawValue)),
                JSONMember(name: "pointer", value: .string(pointer)),
                JSONMember(name: "code", value: .string(code)),
                JSONMember(name: "detail", value: .string(detail)),
            ])
        )
    }
}

/// The meters of ingest itself.
struct IngestMetrics: Sendable {
    private let depth = Meter(label: "turnpike_ingest_queue_events")
    private let flushSize = Recorder(label: "turnpike_ingest_flush_events", aggregate: true)
    private let outcomes: [EventStatus: Counter]
    private let costs: [CostOutcome: Counter]

    init() {
        costs = Dictionary(
            uniqueKeysWithValues: CostOutcome.allCases.map { outcome in
                (outcome, Counter(label: "turnpike_event_costs_total", dimensions: [("outcome", outcome.rawValue)]))
            }
        )
        outcomes = Dictionary(
            uniqueKeysWithValues: EventStatus.allCases.map { status in
                (status, Counter(label: "turnpike_events_total", dimensions: [("outcome", status.rawValue)]))
            }
        )
    }

    /// Events that began (positive) or ceased (negative) to wait.
    func queued(by change: Int) {
        if change >= 0 {
            depth.increment(by: Double(change))
        } else {
            depth.decrement(by: Double(-change))
        }
    }

    func flushed(_ flush: IngestFlush) {
        flushSize.record(flush.eventCount)
        for (outcome, count) in flush.costOutcomes { costs[outcome]?.increment(by: count) }
    }

    /// Events of a request of which nothing was stored.
    func countRejected(_ faults: [EventFault]) {
        outcomes[.rejected]?.increment(by: max(1, Set(faults.compactMap(\.index)).count))
    }

    func count(_ report: IngestReport) {
        for (status, counter) in outcomes {
            let count = report.count(status)
            if count > 0 { counter.increment(by: count) }
        }
    }
}
