import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Web

/// Speaks HTTP to a server under test, with one credential or none.
package struct TestClient: Sendable {
    package let port: Int
    package let key: String?
    /// For how long an answer is waited for.
    private let timeoutSeconds: Int64

    /// A refused connection is told at once, not tried again until the time is up.
    private static let http: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.connectionPool.retryConnectionEstablishment = false
        // As many as a test has clients, which would wait for each other.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    package init(port: Int, key: String?, timeoutSeconds: Int64 = 30) {
        self.port = port
        self.key = key
        self.timeoutSeconds = timeoutSeconds
    }

    package func with(key: String?) -> TestClient {
        TestClient(port: port, key: key, timeoutSeconds: timeoutSeconds)
    }

    package func get(_ path: String, headers: [String: String] = [:]) async throws -> TestResponse {
        try await send("GET", path, body: nil, headers: headers)
    }

    package func delete(_ path: String, headers: [String: String] = [:]) async throws -> TestResponse {
        try await send("DELETE", path, body: nil, headers: headers)
    }

    package func post(_ path: String, _ json: String = "", headers: [String: String] = [:]) async throws -> TestResponse
    {
        try await send("POST", path, body: Array(json.utf8), headers: headers)
    }

    package func put(_ path: String, _ json: String, headers: [String: String] = [:]) async throws -> TestResponse {
        try await send("PUT", path, body: Array(json.utf8), headers: headers)
    }

    package func patch(_ path: String, _ json: String, headers: [String: String] = [:]) async throws -> TestResponse {
        try await send("PATCH", path, body: Array(json.utf8), headers: headers)
    }

    /// A body that is not empty is `application/json` unless the headers say otherwise.
    package func send(
        _ method: String,
        _ path: String,
        body: [UInt8]?,
        headers: [String: String] = [:]
    ) async throws -> TestResponse {
        var request = HTTPClientRequest(url: "http://127.0.0.1:\(port)\(path)")
        request.method = HTTPMethod(rawValue: method)
        if let key { request.headers.add(name: "Authorization", value: "Bearer \(key)") }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        if let body, !body.isEmpty {
            if !request.headers.contains(name: "Content-Type") {
                request.headers.add(name: "Content-Type", value: "application/json")
            }
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        if let key { SecretWatch.shared.register(key) }
        if let body { SecretWatch.shared.register(secretsIn: String(decoding: body, as: UTF8.self)) }
        let response = try await Self.http.execute(request, timeout: .seconds(timeoutSeconds))
        let bytes = try await response.body.collect(upTo: 64 * 1024 * 1024)
        let answer = TestResponse(
            status: Int(response.status.code),
            headers: response.headers.map { ($0.name, $0.value) },
            body: Array(bytes.readableBytesView)
        )
        SecretWatch.shared.register(secretsIn: answer.text)
        return answer
    }
}
