import BillingCore
import Catalog
import Web

/// A cell of a matrix price, named by its dimension values to ask for the events behind it.
struct EventCell: Sendable {
    private let matrix: MatrixPrice
    private let text: String

    /// Reads a JSON object such as `{"model":"gpt-4o","token_class":"output"}`, in any order; nil for anything else.
    init?(_ json: String) {
        guard case .object(let members)? = try? JSONValue(parsing: json), (1...8).contains(members.count) else {
            return nil
        }
        let sorted = members.sorted { $0.name < $1.name }
        let values = sorted.compactMap { member -> String? in
            guard case .string(let value) = member.value else { return nil }
            return value
        }
        guard values.count == members.count else { return nil }
        matrix = MatrixPrice(dimensions: sorted.map(\.name), cells: [], defaultPrice: nil)
        text = matrix.cell(values).text
    }

    /// The part of what a feature measured of an event that falls in the cell; nil when none does.
    func part(of measurement: Measurement, _ event: UsageEvent, _ metered: MeteredFeature) -> MeasuredValue? {
        let cells = try? Metering.cells(of: measurement, .unknown, matrix, event, metered)
        return cells?.first { $0.cell == text }?.value
    }
}
