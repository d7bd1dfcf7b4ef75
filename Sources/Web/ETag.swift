/// The version of a configured resource: its revision, quoted.
package struct ETag: Sendable, Equatable {
    package let revision: Int64

    package init(revision: Int64) {
        self.revision = revision
    }

    package var fieldValue: String { "\"\(revision)\"" }
}

/// What the caller says about the version it means to change (RFC 9110, section 13.1.1).
package enum IfMatch: Sendable, Equatable {
    /// No header: the change is made whatever the version.
    case absent
    /// `*`: any version that exists.
    case anyVersion
    /// The listed versions; a tag that is none of ours matches nothing.
    case revisions([Int64])

    package init(fieldValue: String?) {
        guard let fieldValue else {
            self = .absent
            return
        }
        let tags = fieldValue.split(separator: ",").map { $0.trimmingSpaces() }
        if tags.contains("*") {
            self = .anyVersion
            return
        }
        self = .revisions(
            tags.compactMap { tag in
                guard tag.count > 2, tag.hasPrefix("\""), tag.hasSuffix("\"") else { return nil }
                return Int64(tag.dropFirst().dropLast())
            }
        )
    }

    /// Throws 412 when the resource's revision is not one the caller means. Call it on the row locked for the
    /// change, so that nobody can come between.
    package func require(_ revision: Int64) throws(Problem) {
        switch self {
        case .absent, .anyVersion:
            return
        case .revisions(let revisions):
            guard revisions.contains(revision) else {
                throw .preconditionFailed(current: ETag(revision: revision))
            }
        }
    }
}

extension Substring {
    func trimmingSpaces() -> Substring {
        let isSpace = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        guard let start = utf8.firstIndex(where: { !isSpace($0) }), let last = utf8.lastIndex(where: { !isSpace($0) })
        else { return prefix(0) }
        return self[start..<utf8.index(after: last)]
    }
}
