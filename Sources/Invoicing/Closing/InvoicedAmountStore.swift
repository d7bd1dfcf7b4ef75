import BillingCore
import Catalog
import Postgres
import Web

/// Reads what invoices have charged for the items of periods.
enum InvoicedAmountStore {
    /// A period of a subscription, and the invoice that asks: a reissue does not count what it stands in place of.
    struct Wanted: Sendable {
        let tenant: TenantID
        let subscription: SubscriptionID
        let index: Int
        let kind: Invoice.Kind
        let invoicePeriod: Int
    }

    /// What was known when an invoice was finalised.
    struct Past: Sendable {
        /// The invoice's number: those of a smaller one count, as they stood then.
        let sequence: Int64
        /// The number of the last credit note that counts.
        let creditNotesThrough: Int64
    }

    /// What one item was charged.
    struct Amount: Sendable {
        let subscription: SubscriptionID
        let key: InvoiceItemKey
        let amount: InvoicedAmount
        /// The rates that its taxes were reckoned by.
        let rates: [TaxRate]
        /// The number of the last credit note that took something back of it.
        let lastCreditNote: Int64?
    }

    /// Sums over the invoices that stand; for a pipeline, decode with `amount`. An item whose fee in advance is on a
    /// voided invoice that nothing replaces is left to the reissue of that one: it comes even where nothing stands.
    /// - Parameter past: counts only what was known then.
    static func amounts(_ wanted: [Wanted], before past: Past? = nil) -> SQL {
        """
        SELECT subscription_id, period_index, segment, item, item_key, feature_id, cell, max(item_name),
            coalesce(sum(amount) FILTER (WHERE stands), 0), coalesce(sum(amount - discount) FILTER (WHERE stands), 0),
            coalesce(sum(included_credit) FILTER (WHERE stands), 0), NOT bool_and(stands),
            '[' || string_agg(promotional_credits, ',') FILTER (WHERE stands) || ']',
            '[' || concat_ws(
                ',', string_agg(noted, ',') FILTER (WHERE stands),
                string_agg(facts ->> 'credited_before', ',') FILTER (WHERE stands)
            ) || ']',
            '[' || string_agg(facts ->> 'taxes', ',') FILTER (WHERE stands AND tax <> 0) || ']',
            '[' || string_agg(noted_taxes, ',') FILTER (WHERE stands) || ']',
            '[' || string_agg(DISTINCT rates, ',') FILTER (WHERE stands AND tax <> 0) || ']',
            max(last_note) FILTER (WHERE stands)
        FROM (\(lines(wanted, before: past))) AS line
        GROUP BY subscription_id, period_index, segment, item, item_key, feature_id, cell
        ORDER BY subscription_id, period_index, segment, item, item_key, feature_id, cell
        """
    }

    /// The lines that count, and whether their invoice stands. A line of before it was pinned which credits paid it is
    /// given to the one credit that its invoice used; where there were several that can't be told any more.
    private static func lines(_ wanted: [Wanted], before past: Past?) -> SQL {
        let sequence = past?.sequence
        return """
            SELECT line.*, document.facts #>> '{billing,tax,rates}' AS rates,
                coalesce(line.facts ->> 'promotional_credits', CASE WHEN line.promotional_credit <> 0 THEN (
                    SELECT json_build_array(json_build_object(
                        'amount', line.promotional_credit::text, 'credit_grant', min(used.credit_grant_id::text)
                    ))::text
                    FROM credit_application AS used
                    JOIN credit_grant AS its
                        ON its.tenant_id = used.tenant_id AND its.credit_grant_id = used.credit_grant_id
                    WHERE used.tenant_id = line.tenant_id AND used.invoice_id = line.invoice_id
                        AND its.kind = 'promotional'
                    HAVING count(*) = 1
                ) END) AS promotional_credits,
                invoice.status <> 'void' OR coalesce(invoice.voided_before > \(sequence)::bigint, false) AS stands,
                notes.noted, notes.noted_taxes, notes.last_note
            FROM unnest(
                \(wanted.map(\.tenant))::bigint[], \(wanted.map(\.subscription))::uuid[],
                \(wanted.map { Int32(clamping: $0.index) })::integer[], \(wanted.map(\.kind))::text[],
                \(wanted.map { Int32(clamping: $0.invoicePeriod) })::integer[]
            ) AS wanted (tenant_id, subscription_id, period_index, kind, invoice_period)
            JOIN invoice_line AS line
                ON line.tenant_id = wanted.tenant_id AND line.subscription_id = wanted.subscription_id
                AND line.period_index = wanted.period_index
            JOIN invoice ON invoice.tenant_id = line.tenant_id AND invoice.invoice_id = line.invoice_id
            JOIN invoice_document AS document
                ON document.tenant_id = line.tenant_id AND document.invoice_id = line.invoice_id
            LEFT JOIN LATERAL (\(notes(past))) AS notes ON true
            WHERE (\(sequence)::bigint IS NULL OR document.sequence < \(sequence)::bigint)
                AND (
                    invoice.status <> 'void' OR invoice.voided_before > \(sequence)::bigint
                    OR (
                        line.item = 'fee_in_advance' AND invoice.kind <> 'adjustment'
                        AND NOT (invoice.kind = wanted.kind AND invoice.period_index = wanted.invoice_period)
                        AND NOT EXISTS (
                            SELECT FROM invoice AS other
                            JOIN invoice_document AS its
                                ON its.tenant_id = other.tenant_id AND its.invoice_id = other.invoice_id
                            WHERE other.tenant_id = invoice.tenant_id
                                AND other.subscription_id = invoice.subscription_id
                                AND other.kind = invoice.kind AND other.period_index = invoice.period_index
                                AND (\(sequence)::bigint IS NULL OR its.sequence < \(sequence)::bigint)
                                AND (
                                    other.status <> 'void' OR other.voided_before > \(sequence)::bigint
                                    OR its.sequence > document.sequence
                                )
                        )
                    )
                )
            """
    }

    /// What credit notes took back of a line, and of its taxes; asked only of invoices that have any. What they took
    /// back of a line contains its tax where the line does.
    private static func notes(_ past: Past?) -> SQL {
        """
        SELECT string_agg(json_build_array(json_build_object(
                'amount', (part.amount + CASE
                    WHEN document.facts #>> '{billing,tax,inclusive}' = 'true' THEN part.tax ELSE 0
                END)::text,
                'credit_note', part.credit_note_id
            ))::text, ',') AS noted,
            string_agg(part.taxes::text, ',') AS noted_taxes, max(note.sequence) AS last_note
        FROM credit_note_line AS part
        JOIN credit_note AS note ON note.tenant_id = part.tenant_id AND note.credit_note_id = part.credit_note_id
        WHERE invoice.credited > 0
            AND part.tenant_id = line.tenant_id AND part.invoice_id = line.invoice_id
            AND part.line_number = line.line_number
            AND (\(past?.creditNotesThrough)::bigint IS NULL OR note.sequence <= \(past?.creditNotesThrough)::bigint)
        """
    }

    static func amount(_ row: inout PostgresRow) throws(PostgresError) -> Amount {
        let subscription = try row.next(SubscriptionID.self)
        let index = Int(try row.next(Int32.self))
        let segment = try row.next(Int32?.self).map { Int($0) }
        let kind = try row.next(StoredInvoiceLine.Item.self)
        let itemKey = try row.next(String.self)
        let feature = try row.next(FeatureID?.self)
        let cell = try row.next(String.self)
        let item = kind.item(key: itemKey, name: try row.next(), feature: feature, cell: cell)
        var amount = InvoicedAmount(
            amount: try row.next(),
            discounted: try row.next(),
            includedCredit: try row.next(),
            isLeftToReissue: try row.next(),
            item: item
        )
        let credits = try elements(&row).map { [UUIDv7: FixedDecimal](json: $0, by: "credit_grant") }
        let notes = try elements(&row).map { [UUIDv7: FixedDecimal](json: $0, by: "credit_note") }
        let taxes = try elements(&row).flatMap([LineTax].init(json:))
        let noted = try elements(&row).flatMap([LineTax].init(json:))
        do throws(DecimalError) {
            for parts in credits { try amount.promotionalCredits.add(parts) }
            for parts in notes { try amount.creditNotes.add(parts) }
            for tax in taxes { try amount.taxes.add([tax.rateKey: tax.amount]) }
            for tax in noted { try amount.taxes.add([tax.rateKey: tax.amount.negated]) }
        } catch {
            throw PostgresError(.decoding, "what was invoiced for an item is out of range")
        }
        return Amount(
            subscription: subscription,
            key: InvoiceItemKey(periodIndex: index, segment: segment, item: item.key),
            amount: amount,
            rates: try elements(&row).flatMap([TaxRate].init(json:)),
            lastCreditNote: try row.next()
        )
    }

    /// The elements of a column that is an array in JSON; none of null.
    private static func elements(_ row: inout PostgresRow) throws(PostgresError) -> [JSONValue] {
        guard let text = try row.next(String?.self) else { return [] }
        guard case .array(let elements) = try? JSONValue(stored: text) else {
            throw PostgresError(.decoding, "the facts of a line are not as this release writes them")
        }
        return elements
    }
}

extension StoredInvoiceLine.Item {
    /// The item as the arithmetic knows it, as far as a line that takes it back needs it.
    fileprivate func item(key: String, name: String, feature: FeatureID?, cell: String) -> InvoiceItem {
        switch self {
        case .feeInAdvance: .fee(Fee(key: key, name: name, amount: .zero, charged: .inAdvance))
        case .feeInArrears: .fee(Fee(key: key, name: name, amount: .zero, charged: .inArrears))
        case .usage:
            .usage(
                PricedUsage(
                    feature: feature ?? FeatureID(rawValue: 0),
                    cell: cell,
                    price: .perUnit(unitAmount: .zero),
                    through: .zero
                )
            )
        case .commitment: .commitment
        case .includedCredit: .includedCredit
        }
    }
}
