import BillingCore
import Catalog

extension Metering {
    /// What of a measurement falls in which cell of a matrix: all of it in one, or where the matrix tells the classes
    /// of a class map apart, each class that is not zero in its own.
    static func cells(
        of measurement: Measurement,
        _ cost: MeasuredCost,
        _ matrix: MatrixPrice,
        _ event: UsageEvent,
        _ metered: MeteredFeature
    ) throws(MeasurementFault) -> [MeasuredCell] {
        let definition = metered.meter.definition
        var values = matrix.dimensions.map { name in
            let dimension = definition.dimensions.first { $0.name == name }
            return cellValue(dimension.flatMap { event.property($0.path)?.text } ?? "")
        }
        guard case .classes(_, let dimension) = definition.value,
            let position = matrix.dimensions.firstIndex(of: dimension)
        else {
            let text = matrix.cell(values).text
            return [MeasuredCell(cell: text, value: measurement.value, cost: measurement.cost)]
        }
        var cells: [MeasuredCell] = []
        try forEachClass(of: metered.classes, in: event) { (part, amount) throws(MeasurementFault) in
            guard !amount.isZero else { return }
            values[position] = part.name
            cells.append(
                MeasuredCell(
                    cell: matrix.cell(values).text,
                    value: .sum(amount),
                    cost: part.costs.flatMap(cost.cost)
                )
            )
        }
        return cells
    }

    /// A value as a cell names it. One that is too long is cut and told apart by its hash; a listed cell never has one.
    private static func cellValue(_ text: String) -> String {
        let bytesPerByte = 6
        if text.utf8.count * bytesPerByte <= PriceCell.maximumValueBytes { return text }
        if PriceCell.byteCount(of: text) <= PriceCell.maximumValueBytes { return text }
        let shownScalars = 12
        return String(text.unicodeScalars.prefix(shownScalars)) + "~" + EventKey(distinctValue: text).description
    }
}
