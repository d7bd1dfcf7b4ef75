/// What a list of any length may be written as.
package enum ExportFormat: String, CaseIterable, Sendable {
    /// Records with a header, see `CSVWriter`.
    case csv
    /// One JSON object for each element, and a line feed.
    case ndjson

    package var contentType: String {
        switch self {
        case .csv: "text/csv; charset=utf-8; header=present"
        case .ndjson: "application/x-ndjson"
        }
    }
}
