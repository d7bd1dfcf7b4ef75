import BillingCore
import HTTPTypes
import Web

/// Why this room refuses a request that is well formed in itself.
enum InvoiceFault: Error, Sendable, Equatable {
    case notFound(String)
    case grantNotFound(String)
    case discountNotFound(String)
    case creditNoteNotFound(String)
    case noSubscription(String)
    /// What can't be done with an invoice in its state.
    case wrongStatus(InvoiceStatus, action: String)
    case earlierInvoiceOpen(InvoiceID)
    case amountOutOfRange
    /// An adjustment that would change nothing.
    case nothingToInvoice
    case paidWithMoney
    case hasCreditNotes
    case creditSpent
    /// What it charged was in part given back by another invoice, which stands.
    case adjustedByLater(InvoiceID, number: String)
    /// A later credit note on another invoice took back of what this one takes back.
    case creditedSince(CreditNoteID, number: String)
    /// A later invoice gave back promotional credit that this one used.
    case creditReturned
    case alreadyReissued
    /// The subscription has a draft of an adjustment, and has one at a time.
    case adjustmentDrafted(InvoiceID)
    case grantVoided
    /// Invoices have used all of it.
    case grantUsed
    case tooManyCredits(maximum: Int)
    case discountEnded
    case tooManyDiscounts(maximum: Int)
    /// Somebody else changed the invoice: the transaction is to be begun anew.
    case changedMeanwhile
}

extension InvoiceFault {
    var problem: Problem {
        switch self {
        case .notFound(let id): .notFound("invoice", id)
        case .grantNotFound(let id): .notFound("credit_grant", id)
        case .discountNotFound(let id): .notFound("discount", id)
        case .creditNoteNotFound(let id): .notFound("credit_note", id)
        case .noSubscription(let tenant):
            Problem(
                .notFound,
                code: "subscription_not_found",
                detail: "The tenant '\(tenant)' has no subscription now, so no invoice is coming up."
            )
        case .wrongStatus(let status, let action):
            .conflict(code: "invoice_status", detail: "The invoice is \(status.rawValue): it cannot be \(action).")
        case .earlierInvoiceOpen(let id):
            .conflict(
                code: "earlier_invoice_open",
                detail: "An earlier invoice of the subscription, \(id), is a draft still. Finalise that first."
            )
        case .amountOutOfRange:
            Problem(
                .unprocessableContent,
                code: "amount_out_of_range",
                detail: "The invoice comes to 10^26 or more, which is more than an amount can hold."
            )
        case .nothingToInvoice:
            .conflict(code: "nothing_to_invoice", detail: "The adjustment would change nothing.")
        default: stateProblem
        }
    }

    private var stateProblem: Problem {
        switch self {
        case .paidWithMoney:
            .conflict(
                code: "invoice_paid",
                detail: "The invoice is paid, not by credit alone: it cannot be voided. Issue a credit note."
            )
        case .hasCreditNotes:
            .conflict(
                code: "invoice_has_credit_notes",
                detail: "Credit notes refer to the invoice: it cannot be voided."
            )
        case .creditSpent:
            .conflict(
                code: "credit_spent",
                detail: "The credit that the invoice made is spent in part: it cannot be voided."
            )
        case .adjustedByLater(let id, let number):
            .conflict(
                code: "adjusted_by_later_invoice",
                detail: """
                    Invoice \(number) (\(id)) gave back some of what this one charges. Void with {"reissue": true}, \
                    which drafts the invoice in its place at once, or void that one first.
                    """
            )
        case .creditedSince(let id, let number):
            .conflict(
                code: "credited_since",
                detail: """
                    Credit note \(number) (\(id)) came after this invoice and took back of a period that this one \
                    takes back of. Made anew, this one would find less to take back, and the customer would lose it.
                    """
            )
        case .creditReturned:
            .conflict(
                code: "credit_returned",
                detail: """
                    A later invoice gave back promotional credit that this one used. Void that one first, or issue a \
                    credit note.
                    """
            )
        case .alreadyReissued:
            .conflict(code: "invoice_reissued", detail: "An invoice of the same period stands in place of this one.")
        case .adjustmentDrafted(let id):
            .conflict(
                code: "adjustment_drafted",
                detail: """
                    The subscription's adjustment \(id) is a draft still, and charges what this one charged as far as \
                    it is due. Finalise or void that one first.
                    """
            )
        case .grantVoided:
            .conflict(code: "credit_grant_voided", detail: "The credit is void already.")
        case .discountEnded:
            .conflict(code: "discount_ended", detail: "The discount has ended already.")
        case .grantUsed:
            .conflict(code: "credit_grant_used", detail: "Invoices have used all of the credit: nothing is left.")
        case .tooManyCredits(let maximum):
            .conflict(
                code: "too_many_credit_grants",
                detail: "The tenant has \(maximum) credits that it may use. Void some first."
            )
        case .tooManyDiscounts(let maximum):
            .conflict(code: "too_many_discounts", detail: "The tenant has \(maximum) discounts. End some first.")
        default:
            .conflict(code: "invoice_changed", detail: "The invoice was changed at the same time. Repeat the request.")
        }
    }
}
