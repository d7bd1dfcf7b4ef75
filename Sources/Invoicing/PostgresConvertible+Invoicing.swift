package import BillingCore
import Catalog
import Postgres

extension InvoiceStatus: PostgresConvertible {}
extension StoredInvoiceLine.Item: PostgresConvertible {}
extension Invoice.Kind: PostgresConvertible {}
extension InvoiceLine.Kind: PostgresConvertible {}
extension AvailableCredit.Kind: PostgresConvertible {}
extension CreditGrant.Origin: PostgresConvertible {}
extension DiscountRecord.Duration: PostgresConvertible {}
extension CreditGrantStatus: PostgresConvertible {}
extension DiscountStatus: PostgresConvertible {}
extension StoredCreditNote.Refund: PostgresConvertible {}
