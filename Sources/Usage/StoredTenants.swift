import BillingCore
import Postgres
import Web

/// The tenants that anything is stored of: whose row, ledger, counters, event keys or raw events there are, so that
/// `verify` misses none of which some of that is gone. What belongs to no tenant (0) is left out.
enum StoredTenants {
    /// By ascending id. Each table is asked for the next tenant by its primary key, never read whole.
    static func page(after last: TenantID, limit: Int) -> SQL {
        """
        WITH RECURSIVE known (tenant_id, place) AS (
            SELECT \(last)::bigint, 0::bigint
            UNION ALL
            SELECT least(
                (SELECT min(tenant_id) FROM tenant WHERE tenant_id > known.tenant_id),
                (SELECT min(tenant_id) FROM tenant_ledger WHERE tenant_id > known.tenant_id),
                (SELECT min(tenant_id) FROM usage_counter WHERE tenant_id > known.tenant_id),
                (SELECT min(tenant_id) FROM event_dedup WHERE tenant_id > known.tenant_id),
                (SELECT min(tenant_id) FROM usage_event WHERE tenant_id > known.tenant_id)
            ), place + 1
            FROM known
            WHERE known.tenant_id IS NOT NULL AND known.place < \(limit)
        )
        SELECT tenant_id
        FROM known
        WHERE place > 0 AND tenant_id IS NOT NULL
        ORDER BY tenant_id
        """
    }

    /// Which of its own rows a tenant has.
    struct Standing: Sendable {
        /// Nil where the tenant has no row.
        let key: String?
        let hasLedger: Bool
        /// Of the raw events; 0 where there is a ledger.
        let lastSequence: Int64

        /// What is missing; nothing where neither is.
        func differences(of tenant: TenantID) -> [UsageDifference] {
            let name = key ?? "number \(tenant)"
            var found: [UsageDifference] = []
            if key == nil {
                found.append(
                    UsageDifference(
                        tenant: name,
                        subject: "the row of the tenant itself",
                        stored: "missing",
                        rebuilt: "one",
                        source: "other rows"
                    )
                )
            }
            if !hasLedger {
                found.append(
                    UsageDifference(
                        tenant: name,
                        subject: "the row of its ledger",
                        stored: "missing",
                        rebuilt: "sequence \(lastSequence)"
                    )
                )
            }
            return found
        }
    }

    /// In one statement: a tenant and its ledger are made in one transaction, and never removed.
    static func standing(of tenant: TenantID) -> SQL {
        """
        SELECT own.key, ledger.tenant_id IS NOT NULL, CASE WHEN ledger.tenant_id IS NULL THEN coalesce((
            SELECT max(ledger_seq) FROM usage_event WHERE tenant_id = \(tenant)
        ), 0) ELSE 0 END
        FROM (VALUES (\(tenant)::bigint)) AS wanted (tenant_id)
        LEFT JOIN tenant AS own ON own.tenant_id = wanted.tenant_id
        LEFT JOIN tenant_ledger AS ledger ON ledger.tenant_id = wanted.tenant_id
        """
    }

    @Sendable
    static func decodeStanding(_ row: inout PostgresRow) throws(PostgresError) -> Standing {
        Standing(key: try row.next(), hasLedger: try row.next(), lastSequence: try row.next())
    }
}
