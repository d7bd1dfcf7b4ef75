package import BillingCore
import Catalog
package import Limits
import Web

/// What a transaction has to tell of usage that does not count everywhere. Each is told once; nothing costs anything
/// where all usage is plainly accepted.
package struct UsageAlerts {
    /// What was noted already, so that thousands of events of a kind are one draft.
    private enum Noted: Hashable {
        /// By the bytes of the source, as the alert's key is.
        case unmatched(source: [UInt8])
        /// By the bytes of the type, likewise.
        case unmetered(type: [UInt8])
        case unsubscribed(TenantID)
        case unsold(TenantID, FeatureID, SubscriptionID, periodIndex: Int)
        case refused(TenantID, lacking: String)
        case manyModels(TenantID, UnpricedReason)
    }

    package private(set) var drafts: [AlertDraft] = []
    private var noted: Set<Noted> = []
    /// How many drafts of a kind are of a name.
    private var named: [AlertKind: Int] = [:]
    /// The day (UTC) by which is told once what may go on for long.
    private let day: String
    private let dayStart: Instant

    package init(at now: Instant) {
        day = String(now.description.prefix(10))
        dayStart = now.adding(microseconds: -(now.microseconds % 86_400_000_000))
    }

    /// Those of limits.
    mutating func add(_ more: [AlertDraft]) { drafts += more }

    /// So many names of a day, which senders can make up, are told of one by one.
    private static let mostNames = 20

    /// Usage of a source that names no tenant, once a day. Of very many sources it is told once a day that there are
    /// more.
    mutating func addUnmatched(_ event: UsageEvent) {
        guard noted.insert(.unmatched(source: Array(event.source.utf8))).inserted else { return }
        add(.unmatchedUsage, named: event.source, by: event, ("subject", .string(event.subject)))
    }

    /// Usage of a type that no meter reads, once a day, whoever's it is. Of very many types it is told once a day that
    /// there are more.
    private mutating func addUnmetered(_ event: UsageEvent, of tenant: TenantSnapshot) {
        guard noted.insert(.unmetered(type: Array(event.type.utf8))).inserted else { return }
        add(
            .unmeteredUsage,
            named: event.type,
            by: event,
            ("type", .string(event.type)),
            ("tenant", .string(tenant.key))
        )
    }

    /// What concerns no single tenant, once a day for each of the first names. One more says that there are more.
    private mutating func add(
        _ kind: AlertKind,
        named name: String,
        by event: UsageEvent,
        _ told: (String, JSONValue)...
    ) {
        guard named[kind, default: 0] <= Self.mostNames else { return }
        named[kind, default: 0] += 1
        var draft = AlertDraft(
            kind,
            of: .operatorWide,
            key: nil,
            identity: [name, day],
            detail: detail(of: event, [("day", .string(day))] + told)
        )
        draft.bound = AlertDraft.Bound(Self.mostNames, since: dayStart)
        drafts.append(draft)
    }

    /// What an accepted event was remarked on for.
    /// - Parameter shared: the catalogue that it was measured with.
    mutating func add(
        _ pending: PendingEvent,
        _ remark: EventStatus,
        of tenant: TenantSnapshot,
        _ shared: CatalogSnapshot
    ) {
        switch (remark, pending.place) {
        case (.unmetered, _):
            if !shared.meteredTypes.contains(pending.event.type) { addUnmetered(pending.event, of: tenant) }
        case (.unsubscribed, _): addUnsubscribed(pending.event, of: tenant)
        case (.unpriced, let place?):
            addUnsold(pending.event, pending.measurements, at: place, of: tenant, shared.features)
        default: break
        }
    }

    /// Usage at times without a subscription, once a day.
    private mutating func addUnsubscribed(_ event: UsageEvent, of tenant: TenantSnapshot) {
        guard noted.insert(.unsubscribed(tenant.id)).inserted else { return }
        drafts.append(
            AlertDraft(
                .unsubscribedUsage,
                of: tenant.id,
                key: tenant.key,
                identity: [day],
                detail: detail(of: event, [("day", .string(day))])
            )
        )
    }

    /// Usage of features that the plan names no price for, once in a billing period.
    mutating func addUnsold(
        _ event: UsageEvent,
        _ measurements: [Measurement],
        at place: EventPlace,
        of tenant: TenantSnapshot,
        _ features: Features
    ) {
        let unsold = measurements.lazy.filter { !$0.isSold(by: place.planVersion) }.map(\.feature)
        addUnsold(event, unsold, at: place, of: tenant, features)
    }

    private mutating func addUnsold(
        _ event: UsageEvent,
        _ unsold: some Sequence<FeatureID>,
        at place: EventPlace,
        of tenant: TenantSnapshot,
        _ features: Features
    ) {
        let (subscription, index) = (place.subscription.id, place.periodIndex)
        for feature in unsold {
            guard noted.insert(.unsold(tenant.id, feature, subscription, periodIndex: index)).inserted,
                let key = features[feature]?.key
            else { continue }
            var draft = AlertDraft(
                .unpricedUsage,
                of: tenant.id,
                key: tenant.key,
                identity: ["plan", "\(feature)", "\(subscription)", "\(index)"],
                detail: detail(of: event, [("reason", .string("plan")), ("feature", .string(key))])
            )
            draft.window = place.period
            drafts.append(draft)
        }
    }

    /// Usage of a model whose cost is not known, from a ledger sequence on: it is told again when it was priced wholly
    /// in between. Of very many models of a tenant it is told once a day that there are more.
    mutating func add(_ unpriced: NewlyUnpriced, from sequence: Int64, of tenant: TenantSnapshot) {
        let key = unpriced.key
        let reason = key.reason.rawValue
        guard unpriced.isOneOfMany else {
            let identity = [reason, key.provider, key.model, "\(sequence)"]
            return addModel(of: unpriced.event, lacking: reason, of: tenant, identity: identity)
        }
        guard noted.insert(.manyModels(tenant.id, key.reason)).inserted else { return }
        addModelOfTheDay("more", of: unpriced.event, lacking: reason, of: tenant)
    }

    /// - Parameter mark: which of the day's alerts of a tenant and reason it is; its details say so.
    private mutating func addModelOfTheDay(
        _ mark: String,
        of event: UsageEvent,
        lacking reason: String,
        of tenant: TenantSnapshot
    ) {
        let told: [(String, JSONValue)] = [(mark, .bool(true)), ("day", .string(day))]
        addModel(of: event, lacking: reason, of: tenant, identity: [mark, reason, day], told)
    }

    /// A model whose cost is not known, which operators alone are told.
    private mutating func addModel(
        of event: UsageEvent,
        lacking reason: String,
        of tenant: TenantSnapshot,
        identity: [String],
        _ more: [(String, JSONValue)] = []
    ) {
        var draft = AlertDraft(
            .unpricedUsage,
            of: tenant.id,
            key: tenant.key,
            identity: identity,
            detail: detail(
                of: event,
                [
                    ("reason", .string(reason)), ("provider", .text(event.usage.provider)),
                    ("model", .text(event.usage.model)), ("currency", .string(tenant.currency.code)),
                ] + more
            )
        )
        draft.isOperatorOnly = true
        drafts.append(draft)
    }

    /// A call that a limit on money refuses because something of it has no known price: of features that the plan
    /// names none for like usage of them, and of models once a day, whatever lacks: callers can make up their names.
    package mutating func add(_ unpriced: UnpricedUse, of call: PreparedCall) {
        let (event, tenant) = (call.pending.event, call.tenant)
        if let place = unpriced.place {
            addUnsold(event, unpriced.features, at: place, of: tenant, call.shared.features)
        }
        guard let modelCall = unpriced.modelCall,
            noted.insert(.refused(tenant.id, lacking: modelCall.lacks)).inserted
        else { return }
        addModelOfTheDay("refused", of: event, lacking: modelCall.lacks, of: tenant)
    }

    /// What is told of an event, with its name.
    private func detail(of event: UsageEvent, _ told: [(String, JSONValue)]) -> JSONValue {
        let named = told + [("source", .string(event.source)), ("event", .string(event.id))]
        return .object(named.map { JSONMember(name: $0.0, value: $0.1) })
    }
}

/// The features of a catalogue, by id.
typealias Features = [FeatureID: Feature]
