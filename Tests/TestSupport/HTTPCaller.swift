package import Foundation
import FoundationNetworking

/// Calls a service over HTTP the way a client of it would.
package struct HTTPCaller: Sendable {
    package struct Answer: Sendable, CustomStringConvertible {
        package let status: Int
        package let headers: [String: String]
        package let body: Data

        package var text: String { String(decoding: body, as: UTF8.self) }
        package var description: String { "\(status) \(text.prefix(2_000))" }

        /// The body as a value with snake-case members; fails with the answer in the message.
        package func decoded<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
            let decoder = JSONDecoder()
            decoder.keyDecodingStrategy = .convertFromSnakeCase
            do {
                return try decoder.decode(type, from: body)
            } catch {
                throw Unexpected(description: "not \(type): \(self)\n\(error)")
            }
        }
    }

    package struct Unexpected: Error, CustomStringConvertible {
        package let description: String
    }

    package let baseURL: URL
    private let bearer: String?
    private let session: URLSession

    package init(baseURL: URL, bearer: String? = nil) {
        self.baseURL = baseURL
        self.bearer = bearer
        let configuration = URLSessionConfiguration.ephemeral
        configuration.timeoutIntervalForRequest = 30
        configuration.connectionProxyDictionary = [:]
        session = URLSession(configuration: configuration)
    }

    package func with(bearer: String) -> HTTPCaller {
        HTTPCaller(baseURL: baseURL, bearer: bearer)
    }

    package func get(_ path: String) async throws -> Answer {
        try await call("GET", path)
    }

    package func post(_ path: String, json: String = "", headers: [String: String] = [:]) async throws -> Answer {
        try await call("POST", path, json: json, headers: headers)
    }

    /// The same, failing unless the answer has the status.
    @discardableResult
    package func post(_ path: String, json: String = "", expecting status: Int) async throws -> Answer {
        let answer = try await post(path, json: json)
        guard answer.status == status else {
            throw Unexpected(description: "POST \(path) answered \(answer) instead of \(status)")
        }
        return answer
    }

    package func call(
        _ method: String,
        _ path: String,
        json: String? = nil,
        headers: [String: String] = [:]
    ) async throws -> Answer {
        guard let url = URL(string: path, relativeTo: baseURL) else {
            throw Unexpected(description: "no URL: \(path)")
        }
        var request = URLRequest(url: url)
        request.httpMethod = method
        if let bearer { request.setValue("Bearer \(bearer)", forHTTPHeaderField: "Authorization") }
        if let json, !json.isEmpty {
            request.httpBody = Data(json.utf8)
            request.setValue("application/json", forHTTPHeaderField: "Content-Type")
        }
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        let (body, response) = try await session.data(for: request)
        guard let response = response as? HTTPURLResponse else {
            throw Unexpected(description: "\(method) \(path) had no HTTP response")
        }
        var fields: [String: String] = [:]
        for (name, value) in response.allHeaderFields {
            fields["\(name)".lowercased()] = "\(value)"
        }
        return Answer(status: response.statusCode, headers: fields, body: body)
    }

    /// Whether it answers 200 there.
    package func isUp(_ path: String) async -> Bool {
        (try? await get(path).status) == 200
    }
}
