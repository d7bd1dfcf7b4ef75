import Foundation
package import Web

/// An OAuth client that a test has made.
package struct TestOAuthClient: Sendable {
    package let id: String
    package let secret: String

    package init(id: String, secret: String) {
        self.id = id
        self.secret = secret
    }

    /// The value of an `Authorization` field for `client_secret_basic`.
    package var basic: String { "Basic " + Data("\(id):\(secret)".utf8).base64EncodedString() }
}

extension TestServer {
    /// A new client with a secret, bound to the tenant if one is named.
    /// - Parameter members: further members of the body, each behind a comma.
    package func makeOAuthClient(
        _ scopes: [Scope],
        tenant: String? = nil,
        _ members: String = ""
    ) async throws -> TestOAuthClient {
        let names = scopes.map { "\"\($0.rawValue)\"" }.joined(separator: ",")
        let bound = tenant.map { "\"\($0)\"" } ?? "null"
        let answer = try await operatorClient.post(
            "/api/v1/clients",
            #"{"name": "test", "scopes": [\#(names)], "tenant": \#(bound)\#(members)}"#
        ).expecting(201)
        guard let id = answer.json["client_id"]?.string, let secret = answer.json["client_secret"]?.string else {
            throw UnexpectedAnswer(answer: answer)
        }
        return TestOAuthClient(id: id, secret: secret)
    }

    /// A new access token of the client, as text.
    package func token(of client: TestOAuthClient, scope: String? = nil) async throws -> String {
        var parameters = [("grant_type", "client_credentials")]
        if let scope { parameters.append(("scope", scope)) }
        let answer = try await anonymous.form("/oauth/token", parameters, headers: ["Authorization": client.basic])
        guard let token = try answer.expecting(200).json["access_token"]?.string else {
            throw UnexpectedAnswer(answer: answer)
        }
        return token
    }
}

extension TestClient {
    /// Posts parameters as `application/x-www-form-urlencoded`.
    package func form(
        _ path: String,
        _ parameters: [(String, String)],
        headers: [String: String] = [:]
    ) async throws -> TestResponse {
        let body = parameters.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
        let type = ["Content-Type": "application/x-www-form-urlencoded"]
        return try await send("POST", path, body: Array(body.utf8), headers: type.merging(headers) { $1 })
    }
}
