extension String {
    /// The same text on one line: what would end a line, turn the direction of what follows, or do anything but show,
    /// becomes a space.
    package var onOneLine: String {
        replacingScalars { scalar in
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator: " "
            default: scalar.properties.isBidiControl ? " " : nil
            }
        }
    }

    /// Replaces scalar by scalar, never whole characters: a mark that combines with a scalar would keep that from being
    /// found, and so let a `<` pass.
    /// - Parameter replacement: what stands in place of a scalar; nil where it stays.
    package func replacingScalars(_ replacement: (Unicode.Scalar) -> String?) -> String {
        guard unicodeScalars.contains(where: { replacement($0) != nil }) else { return self }
        var scalars = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            if let text = replacement(scalar) {
                scalars.append(contentsOf: text.unicodeScalars)
            } else {
                scalars.append(scalar)
            }
        }
        return String(scalars)
    }
}
