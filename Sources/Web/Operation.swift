package import HTTPTypes

/// One entry of the contract: what may be called, by whom, with how large a body.
package struct Operation: Sendable {
    package enum Access: Sendable, Equatable {
        /// Without a credential: probes, metrics and documents.
        case open
        /// With a credential that has at least one of these scopes.
        case anyOf(ScopeSet)
    }

    /// `operationId` in the contract.
    package let id: String
    package let method: HTTPRequest.Method
    /// The path template as the contract writes it, `/api/v1/tenants/{key}`.
    package let path: String
    package let access: Access
    package let bodyLimitBytes: Int
    /// Media types a body may have.
    package let mediaTypes: [String]
    /// A busy operation: its successes are in the metrics, and in the log at level debug.
    package let isQuiet: Bool
    /// A small call computes for microseconds and never blocks: it is answered on the thread of its connection, see
    /// ADR 0027.
    package let isBrief: Bool
    /// It changes nothing and may take long: it is cancelled when its client has gone. Its connection serves nothing
    /// else afterwards.
    package let endsWithClient: Bool
    /// It has an answer also while the database is away, or does not answer in time: what was read last of a
    /// credential may stand in then, and nobody waits longer than an `AnswerDeadline`. Only admissions are.
    package let isAnsweredInOutage: Bool
    /// It tells a suspended tenant's credential by itself that the tenant is suspended, in the form that its callers
    /// read: the check of a proxy.
    package let tellsSuspension: Bool
    /// Its handler reads the query, and refuses what it does not know. Any other operation has no parameters: one that
    /// is given to it is refused before its handler runs.
    package let readsQuery: Bool

    package static let defaultBodyLimitBytes = 256 * 1024
    package static let json = ["application/json"]

    /// It changes nothing, so that a suspended tenant's credential may call it.
    var onlyReads: Bool {
        method == .get || method == .head
    }

    var takesBody: Bool {
        method == .post || method == .put || method == .patch || method == .delete
    }
}
