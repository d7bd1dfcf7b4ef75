package import BillingCore
import Catalog
import Identity
import Web

/// Where an invoice is in its life.
///
/// draft -> finalized | void; finalized -> paid | uncollectible | void; uncollectible -> paid | void. A paid invoice
/// stays so, unless credit alone paid it: then it may be voided.
package enum InvoiceStatus: String, Sendable, Hashable, CaseIterable {
    case draft, finalized, paid, uncollectible, void
}

/// An invoice's row: what it is for, and its state. What it says is pinned in its document and lines.
package struct StoredInvoice: Sendable {
    package let id: InvoiceID
    package let tenantID: TenantID
    package let subscriptionID: SubscriptionID
    package let kind: Invoice.Kind
    package let periodIndex: Int
    package let period: Interval
    /// The voided invoice that this one stands in place of.
    package let reissueOf: InvoiceID?
    package let createdAt: Instant
    package var status: InvoiceStatus
    /// When a draft is due to be finalised; of any other when it was.
    package var issuedAt: Instant
    package var paidAt: Instant?
    package var uncollectibleAt: Instant?
    package var voidedAt: Instant?
    /// What credit notes took off.
    package var credited: FixedDecimal
    package var updatedAt: Instant
    package var revision: Int64

    package init(
        id: InvoiceID,
        tenantID: TenantID,
        subscriptionID: SubscriptionID,
        kind: Invoice.Kind,
        periodIndex: Int,
        period: Interval,
        reissueOf: InvoiceID? = nil,
        createdAt: Instant,
        issuedAt: Instant
    ) {
        self.id = id
        self.tenantID = tenantID
        self.subscriptionID = subscriptionID
        self.kind = kind
        self.periodIndex = periodIndex
        self.period = period
        self.reissueOf = reissueOf
        self.createdAt = createdAt
        status = .draft
        self.issuedAt = issuedAt
        credited = .zero
        updatedAt = createdAt
        revision = 1
    }
}

/// What an invoice says beside its lines. A draft's is computed and has no number yet; that of a finalised invoice was
/// pinned with it and never changes.
package struct StoredDocument: Sendable, Hashable {
    /// The place in the gapless series; nil for a draft.
    package var sequence: Int64?
    package var number: String?
    package var finalizedAt: Instant?
    package var dueAt: Instant?
    /// SHA-256 of document and lines: see `canonicalBytes`. Empty for a draft.
    package var contentHash: [UInt8] = []
    /// The tenant's ledger sequence that the usage goes up to.
    package let ledgerSequence: Int64
    package let currency: Currency
    package let tenantKey: String
    package let tenantName: String
    package let amounts: InvoiceAmounts
    package var facts: InvoiceFacts
}

/// What the lines add up to: see `InvoiceTotals`.
package struct InvoiceAmounts: Sendable, Hashable {
    package let subtotal: FixedDecimal
    package let discount: FixedDecimal
    package let credits: FixedDecimal
    package let tax: FixedDecimal
    package let total: FixedDecimal
    package let carriedForward: FixedDecimal
    package let paidByCredit: FixedDecimal
    package let due: FixedDecimal
}

extension InvoiceAmounts {
    init(_ totals: InvoiceTotals) {
        self.init(
            subtotal: totals.subtotal,
            discount: totals.discount,
            credits: totals.credits,
            tax: totals.tax,
            total: totals.total,
            carriedForward: totals.carriedForward,
            paidByCredit: totals.paidByCredit,
            due: totals.due
        )
    }
}

/// An invoice with everything it says.
package struct WholeInvoice: Sendable {
    package var invoice: StoredInvoice
    package var document: StoredDocument
    /// By ascending number, from 1.
    package var lines: [StoredInvoiceLine]
}

extension WholeInvoice {
    /// Everything that is pinned, in one unambiguous order: each field as its length and its UTF-8. What is not there
    /// has the length -1.
    package var canonicalBytes: [UInt8] {
        var writer = CanonicalWriter()
        writer.put(invoice.kind.rawValue)
        writer.put(invoice.subscriptionID.description)
        writer.put(String(invoice.periodIndex))
        writer.put(invoice.period.start.description)
        writer.put(invoice.period.end.description)
        writer.put(document.number)
        writer.put(document.finalizedAt?.description)
        writer.put(document.dueAt?.description)
        writer.put(String(document.ledgerSequence))
        writer.put(document.currency.code)
        writer.put(document.tenantKey)
        writer.put(document.tenantName)
        let amounts = document.amounts
        for amount in [
            amounts.subtotal, amounts.discount, amounts.credits, amounts.tax, amounts.total, amounts.carriedForward,
            amounts.paidByCredit, amounts.due,
        ] {
            writer.put(amount.description)
        }
        writer.put(document.facts.json.text)
        for line in lines { line.write(to: &writer) }
        return writer.bytes
    }
}

/// Writes fields so that no two sequences of fields have the same bytes.
struct CanonicalWriter {
    private(set) var bytes: [UInt8] = []

    init() {
        bytes.reserveCapacity(4_096)
    }

    mutating func put(_ text: String?) {
        guard let text else {
            bytes.append(contentsOf: "-1:".utf8)
            return
        }
        bytes.append(contentsOf: String(text.utf8.count).utf8)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(contentsOf: text.utf8)
    }
}

extension WholeInvoice {
    /// What the audit log says of it.
    var auditEntry: BulkAuditEntry {
        BulkAuditEntry(
            tenant: invoice.tenantID,
            resourceKey: invoice.id.description,
            after: .members([
                "content_hash": .string(document.contentHashText), "number": .text(document.number),
                "status": .string(invoice.status.rawValue), "total": .amount(document.amounts.total),
            ])
        )
    }
}

extension StoredDocument {
    /// The hash in hexadecimal.
    package var contentHashText: String {
        contentHash.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
