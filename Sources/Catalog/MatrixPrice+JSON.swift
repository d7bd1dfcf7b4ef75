import BillingCore
import Web

extension MatrixPrice {
    /// Reads a matrix as far as it can be judged without the meter. Nil only where a fault was recorded.
    static func read(_ fields: JSONObjectReader) -> MatrixPrice? {
        let dimensions = fields.strings("dimensions", minimumCount: 1, maximumCount: 8).sorted()
        let cells = fields.objects("cells", maximumCount: 1_000) { readCell($0, dimensions) }
        let defaultPrice = fields.optionalObject("default", readNestedPrice)
        if cells.isEmpty, !fields.contains("default") {
            let detail = "\"default\" is required: there are no \"cells\" that could have a price"
            fields.fault(at: "default", code: "required", detail: detail)
        }
        let matrix = MatrixPrice(
            dimensions: dimensions,
            cells: cells.compactMap { $0 },
            defaultPrice: defaultPrice.flatMap { $0 }
        )
        rejectDuplicates(cells.map { cell in cell.map { matrix.cell($0.values).text } }, fields)
        return matrix
    }

    private static func readCell(_ fields: JSONObjectReader, _ dimensions: [String]) -> Cell? {
        let values = readMatch(fields, dimensions)
        let price = fields.object("price", readNestedPrice).flatMap { $0 }
        guard let values, let price else { return nil }
        return Cell(values: values, price: price)
    }

    private static func readNestedPrice(_ fields: JSONObjectReader) -> Price? {
        let price = Price.read(fields)
        switch price {
        case .flat, .matrix:
            let detail = "a cell is priced by its usage: \"flat\" and \"matrix\" cannot stand in a matrix"
            fields.fault(at: "model", code: "not_applicable", detail: detail)
            return nil
        default:
            return price
        }
    }

    /// The value of each dimension; the empty text is what an event without the dimension has.
    private static func readMatch(_ fields: JSONObjectReader, _ dimensions: [String]) -> [String]? {
        guard case .object(let members)? = fields.json("match") else {
            let detail = "\"match\" is required and must be an object of each dimension's value"
            fields.fault(at: "match", code: "required", detail: detail)
            return nil
        }
        var values: [String: String] = [:]
        for member in members {
            let path = "match/\(JSONPointer.escaped(member.name))"
            guard dimensions.contains(member.name) else {
                let detail = "\"\(member.name)\" is not one of \"dimensions\""
                fields.fault(at: path, code: "unknown_dimension", detail: detail)
                continue
            }
            guard case .string(let value) = member.value,
                PriceCell.byteCount(of: value) <= PriceCell.maximumValueBytes
            else {
                let detail = "\"\(member.name)\" must be a string of at most \(PriceCell.maximumValueBytes) bytes"
                fields.fault(at: path, code: "invalid_element", detail: detail)
                continue
            }
            values[member.name] = value
        }
        for name in dimensions where !members.contains(where: { $0.name == name }) {
            let detail = "\"match\" must name the value of \"\(name)\""
            fields.fault(at: "match/\(JSONPointer.escaped(name))", code: "required", detail: detail)
        }
        let complete = dimensions.compactMap { values[$0] }
        return complete.count == dimensions.count ? complete : nil
    }

    private static func rejectDuplicates(_ cells: [String?], _ fields: JSONObjectReader) {
        var seen: Set<String> = []
        for (index, text) in cells.enumerated() {
            guard let text, !seen.insert(text).inserted else { continue }
            let detail = "another cell matches the same values"
            fields.fault(at: "cells/\(index)/match", code: "duplicate", detail: detail)
        }
    }
}
