import Foundation

extension TestResponse {
    /// The body as a value with snake-case members; where it is something else, the answer is in the error.
    package func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(type, from: Data(body))
        } catch {
            throw UnexpectedAnswer(answer: self)
        }
    }

    /// The answer itself, if it has the status.
    @discardableResult
    package func expecting(_ expected: Int) throws -> TestResponse {
        guard status == expected else { throw UnexpectedAnswer(answer: self) }
        return self
    }
}
