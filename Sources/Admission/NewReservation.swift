import BillingCore
import Catalog
import Limits
import Postgres
import Usage
import Web

extension NewReservation {
    /// - Parameters:
    ///   - text: the call as JSON.
    ///   - taken: what the call takes of limits.
    ///   - tokens: how many output tokens it may use.
    init(
        _ call: PreparedCall,
        text: String,
        _ life: ReservationLife,
        holding taken: [CallHold],
        _ tokens: Int64?,
        ids: IDSource
    ) {
        let event = call.pending.event
        let reservation = Reservation(
            tenantID: call.tenant.id,
            id: ReservationID(rawValue: ids.next()),
            source: event.source,
            admissionID: event.id,
            eventType: event.type,
            subject: event.subject,
            createdAt: life.createdAt,
            expiresAt: life.expiresAt,
            suspenseEndsAt: life.suspenseEndsAt,
            maximumOutputTokens: tokens,
            contentHash: event.contentHash,
            use: ReservedUse(
                model: event.usage.model,
                feature: event.usage.feature,
                dataClass: event.property(.dataClass)?.text
            )
        )
        self.init(
            reservation,
            key: event.key.postgres,
            call: ReservedCall(text: text, attribution: event.attribution),
            holds: taken.flatMap(\.frees)
        )
    }
}

/// When a reservation begins and ends.
struct ReservationLife: Sendable {
    let createdAt: Instant
    /// Until when it can be settled as admitted.
    let expiresAt: Instant
    /// Until when it goes on holding.
    let suspenseEndsAt: Instant
}

/// Names an admission: at most one of a tenant has it.
struct AdmissionKey: Hashable {
    private let tenant: TenantID
    private let high: UInt64
    private let low: UInt64

    init(_ tenant: TenantID, _ key: PostgresUUID) {
        self.tenant = tenant
        high = key.high
        low = key.low
    }

    /// The key is a hash already.
    func hash(into hasher: inout Hasher) { hasher.combine(low) }
}
