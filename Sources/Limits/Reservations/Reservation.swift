package import BillingCore
package import Postgres
package import Web

/// Where a reservation stands. Every state but `held` is final.
package enum ReservationStatus: String, Sendable, Hashable, CaseIterable {
    /// Holds what was admitted. Exits: `settled` by its usage event, `released` by the caller, `expired` by time.
    case held
    case settled
    case released
    /// Its suspense ended and nothing had settled it. An event that comes later counts in full.
    case expired
}

/// A call that was admitted.
package struct Reservation: Sendable, Hashable {
    package let tenantID: TenantID
    package let id: ReservationID
    package let source: String
    package let admissionID: String
    package let eventType: String
    package let subject: String
    package let status: ReservationStatus
    package let createdAt: Instant
    /// Until when it can be settled as admitted.
    package let expiresAt: Instant
    /// Until when it goes on holding.
    package let suspenseEndsAt: Instant
    package let closedAt: Instant?
    /// How many output tokens the call may use; nil where it said nothing of any.
    package let maximumOutputTokens: Int64?
    /// Of what was asked: a repetition with other content is a conflict.
    package let contentHash: Int64
    /// What a credential may be narrowed to.
    package let use: ReservedUse

    package init(
        tenantID: TenantID,
        id: ReservationID,
        source: String,
        admissionID: String,
        eventType: String,
        subject: String,
        status: ReservationStatus = .held,
        createdAt: Instant,
        expiresAt: Instant,
        suspenseEndsAt: Instant,
        closedAt: Instant? = nil,
        maximumOutputTokens: Int64?,
        contentHash: Int64,
        use: ReservedUse
    ) {
        self.tenantID = tenantID
        self.id = id
        self.source = source
        self.admissionID = admissionID
        self.eventType = eventType
        self.subject = subject
        self.status = status
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.suspenseEndsAt = suspenseEndsAt
        self.closedAt = closedAt
        self.maximumOutputTokens = maximumOutputTokens
        self.contentHash = contentHash
        self.use = use
    }
}

extension Reservation {
    /// However often it is extended. What it holds is priced with the periods that a tenant's snapshot has, which are
    /// those of the last weeks.
    package static let longestLifeDays: Int64 = 7

    package var latestExpiry: Instant { createdAt.adding(seconds: Self.longestLifeDays * 86_400) }
}

/// What of a call decides who may use a credential for it, as the call's `data` says it.
package struct ReservedUse: Sendable, Hashable {
    package let model: String?
    package let feature: String?
    package let dataClass: String?

    package init(model: String?, feature: String?, dataClass: String?) {
        self.model = model
        self.feature = feature
        self.dataClass = dataClass
    }
}

/// A reservation that is to be made.
package struct NewReservation: Sendable {
    package let reservation: Reservation
    /// 128 bits of SHA-256 over source and id.
    package let key: PostgresUUID
    package let call: ReservedCall
    /// What it holds, as the column has it.
    let holds: String

    package init(_ reservation: Reservation, key: PostgresUUID, call: ReservedCall, holds: [ReservationHold]) {
        self.reservation = reservation
        self.key = key
        self.call = call
        self.holds = holds.json
    }
}

/// What a reservation was asked for, kept while it is open.
package struct ReservedCall: Sendable, Hashable {
    /// The call as JSON.
    package let text: String
    package let attribution: Attribution

    package init(text: String, attribution: Attribution) {
        self.text = text
        self.attribution = attribution
    }
}

/// Names a reservation among those of all tenants.
package struct TenantReservation: Sendable, Hashable {
    package let tenant: TenantID
    package let id: ReservationID

    package init(tenant: TenantID, id: ReservationID) {
        self.tenant = tenant
        self.id = id
    }
}

/// A reservation whose suspense is over.
package struct DueReservation: Sendable {
    package let name: TenantReservation
    let suspenseEndsAt: Instant
}

/// So much of one row of `limit_state`, which may be the operator's, held by a reservation.
package struct ReservationHold: Sendable, Hashable {
    package let row: LimitRow
    package let amount: FixedDecimal

    package init(row: LimitRow, amount: FixedDecimal) {
        self.row = row
        self.amount = amount
    }
}
