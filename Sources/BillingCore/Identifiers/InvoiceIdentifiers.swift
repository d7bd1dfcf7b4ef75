/// An invoice.
@usableFromInline
package struct InvoiceID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A credit that was granted to a tenant.
@usableFromInline
package struct CreditGrantID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A discount of a tenant.
@usableFromInline
package struct DiscountID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}

/// A credit note.
@usableFromInline
package struct CreditNoteID: UUIDIdentifier {
    @usableFromInline package let rawValue: UUIDv7

    @inlinable
    package init(rawValue: UUIDv7) {
        self.rawValue = rawValue
    }
}
