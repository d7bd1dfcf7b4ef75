/// RFC 6901 pointers.
package enum JSONPointer {
    /// One reference token, escaped.
    package static func escaped(_ name: String) -> String {
        name.replacingScalars { scalar in
            switch scalar {
            case "~": "~0"
            case "/": "~1"
            default: nil
            }
        }
    }

    package static func appending(_ name: String, to pointer: String) -> String {
        pointer + "/" + escaped(name)
    }

    /// The pointer of the innermost value that holds the byte at the offset. Malformed text is read as far as it goes.
    package static func locating(_ offset: Int, in bytes: UnsafeRawBufferPointer) -> String {
        var search = Search(scanner: JSONScanner(bytes), offset: offset)
        if (try? search.passesOffset()) == nil {
            search.isFound = true
        }
        return search.isFound ? search.path.reduce("") { appending($1, to: $0) } : ""
    }

    private struct Search {
        var scanner: JSONScanner
        let offset: Int
        var path: [String] = []
        var isFound = false

        /// Reads one value; the path stays as it is once the offset is passed, and also when the text is malformed.
        mutating func passesOffset() throws(JSONFault) {
            let kind = try scanner.peek()
            isFound = scanner.position >= offset
            guard !isFound else { return }
            switch kind {
            case .object:
                var progress = try scanner.beginObject()
                while let key = try scanner.nextKey(&progress) {
                    path.append(scanner.string(key.text))
                    try visitChild()
                    if isFound { return }
                }
            case .array:
                var progress = try scanner.beginArray()
                var index = 0
                while try scanner.nextElement(&progress) {
                    path.append(String(index))
                    try visitChild()
                    if isFound { return }
                    index += 1
                }
            default:
                try scanner.skipValue()
            }
            isFound = scanner.position > offset
        }

        private mutating func visitChild() throws(JSONFault) {
            isFound = scanner.position > offset
            if !isFound {
                try passesOffset()
            }
            if !isFound {
                path.removeLast()
            }
        }
    }
}
