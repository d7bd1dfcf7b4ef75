extension String {
    /// Whether both are the same bytes in UTF-8, as a database compares texts; `==` takes texts for the same that look
    /// the same.
    @inlinable
    package func hasSameBytes(as other: String) -> Bool {
        var (left, right) = (self, other)
        return left.withUTF8 { left in
            right.withUTF8 { right in
                left.count == right.count && UnsafeRawBufferPointer(left).elementsEqual(UnsafeRawBufferPointer(right))
            }
        }
    }
}
