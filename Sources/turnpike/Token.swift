import ArgumentParser
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import Web

struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Get an access token from a running service, by client credentials.",
        discussion: """
            The client's secret is taken from TURNPIKE_CLIENT_SECRET or, where that is not set, from the first line of \
            standard input. There is no option for it, because others can read the options of a process.

            The token alone goes to standard output. It lasts as long as the service says, mostly minutes.

            Exit status: 0 with a token, 1 when the service gives none, 2 when it could not be asked.
            """
    )

    /// The ways of RFC 6749, section 2.3.1.
    enum Method: String, CaseIterable, ExpressibleByArgument {
        case basic = "client_secret_basic"
        case post = "client_secret_post"
    }

    @Option(help: "Where the service is, such as https://turnpike.example.com.")
    var url: String

    @Option(help: "The client's id.")
    var clientID: String

    @Option(
        name: .customLong("scope"),
        help: "Ask for this scope or preset; may be repeated. All that the client has when left out."
    )
    var scopes: [String] = []

    @Option(help: "How the client is registered to authenticate.")
    var method: Method = .basic

    private static let notGiven = ExitCode(1)
    private static let notRun = ExitCode(2)
    private static let variable = "TURNPIKE_CLIENT_SECRET"
    private static let answerLimitBytes = 64 * 1_024

    func validate() throws {
        guard let parts = URLComponents(string: url), ["http", "https"].contains(parts.scheme?.lowercased()),
            parts.host?.isEmpty == false, parts.query == nil, parts.fragment == nil
        else { throw ValidationError("--url is http:// or https:// and a host, such as https://turnpike.example.com.") }
    }

    func run() async throws {
        let answer: (status: HTTPResponseStatus, json: JSONValue?)
        do {
            answer = try await answered(to: try request(secret: try Self.secret()))
        } catch {
            Terminal.complain("\(error)")
            throw Self.notRun
        }
        guard answer.status == .ok, let token = Self.text("access_token", answer.json) else {
            Terminal.complain(Self.refusal(answer.status, answer.json))
            throw Self.notGiven
        }
        print(token)
    }

    private struct NoSecret: Error, CustomStringConvertible {
        let description = "no secret: set \(Token.variable), or give it as the first line of standard input"
    }

    private static func secret() throws -> String {
        if let given = ProcessInfo.processInfo.environment[variable], !given.isEmpty { return given }
        guard !Terminal.isTerminal(STDIN_FILENO), let line = readLine(), !line.isEmpty else { throw NoSecret() }
        return line
    }

    private func request(secret: String) throws -> HTTPClientRequest {
        var form = [("grant_type", "client_credentials")]
        if !scopes.isEmpty { form.append(("scope", scopes.joined(separator: " "))) }
        let base = url.hasSuffix("/") ? String(url.dropLast()) : url
        var request = HTTPClientRequest(url: base + "/oauth/token")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-www-form-urlencoded")
        request.headers.add(name: "Accept", value: "application/json")
        request.headers.add(name: "User-Agent", value: "turnpike")
        switch method {
        case .basic:
            let pair = [clientID, secret].map { PercentEncoding.encoded($0) }.joined(separator: ":")
            request.headers.add(name: "Authorization", value: "Basic \(Data(pair.utf8).base64EncodedString())")
        case .post:
            form += [("client_id", clientID), ("client_secret", secret)]
        }
        let body = form.map { "\($0.0)=\(PercentEncoding.encoded($0.1))" }.joined(separator: "&")
        request.body = .bytes(Array(body.utf8))
        return request
    }

    /// A redirect is not followed: the secret is for the URL that was given, and for nobody else.
    private func answered(
        to request: HTTPClientRequest
    ) async throws -> (status: HTTPResponseStatus, json: JSONValue?) {
        let client = HTTPClient(
            eventLoopGroupProvider: .singleton,
            configuration: HTTPClient.Configuration(redirectConfiguration: .disallow)
        )
        do {
            let response = try await client.execute(request, timeout: .seconds(30))
            let body = Array(buffer: try await response.body.collect(upTo: Self.answerLimitBytes))
            try await client.shutdown()
            return (response.status, try? JSONValue(parsing: body))
        } catch {
            try? await client.shutdown()
            throw error
        }
    }

    private static func text(_ name: String, _ json: JSONValue?) -> String? {
        if case .string(let text) = json?[name] { text } else { nil }
    }

    /// In the words of the service: the form of OAuth, or a problem.
    private static func refusal(_ status: HTTPResponseStatus, _ json: JSONValue?) -> String {
        let code = text("error", json) ?? text("code", json)
        let detail = text("error_description", json) ?? text("detail", json)
        let words = [code, detail].compactMap(\.self).joined(separator: ": ")
        return "the service gives no token (\(status.code))" + (words.isEmpty ? "" : ": \(words)")
    }
}
