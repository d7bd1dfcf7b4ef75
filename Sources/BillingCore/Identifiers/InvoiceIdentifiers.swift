/// An invoice.
package struct InvoiceID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A credit that was granted to a tenant.
package struct CreditGrantID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A discount of a tenant.
package struct DiscountID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A credit note.
package struct CreditNoteID: UUIDIdentifier {
    package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}
