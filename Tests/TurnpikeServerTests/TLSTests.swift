import BillingCore
import Foundation
import Identity
import TestSupport
import Testing
import Web

@testable import TurnpikeServer

/// HTTPS as independent clients see it: curl and openssl.
@Suite struct TLSTests {
    /// A certificate of its own authority, with its key, in a directory.
    private struct Pair {
        let directory: URL

        var files: TLSCertificate.Files { .init(certificatePath: path("cert.pem"), keyPath: path("key.pem")) }

        func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

        func make(_ name: String, days: Int = 30) async throws {
            _ = try await TestTools.run(
                "openssl",
                [
                    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                    "/CN=\(name)", "-days", String(days), "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", "next-key.pem", "-out", "next-cert.pem",
                ],
                in: directory
            )
        }

        /// Puts what `make` made in place, as a renewal would.
        func install(_ names: [String] = ["key.pem", "cert.pem"]) throws {
            for name in names {
                try Data(contentsOf: directory.appendingPathComponent("next-\(name)"))
                    .write(to: directory.appendingPathComponent(name), options: .atomic)
            }
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path("key.pem"))
        }
    }

    private func withPair(_ body: (Pair) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let pair = Pair(directory: directory)
            try await pair.make("first")
            try pair.install()
            try await body(pair)
        }
    }

    private func curl(_ arguments: [String], _ server: TestServer, _ pair: Pair) async throws -> String {
        let common = ["-sS", "-i", "--cacert", pair.path("cert.pem"), "https://localhost:\(server.port)/healthz"]
        return try await TestTools.run("curl", arguments + common, in: pair.directory)
    }

    private func handshake(_ arguments: [String], _ server: TestServer, _ pair: Pair) async throws -> String {
        try await TestTools.run(
            "openssl",
            ["s_client", "-connect", "127.0.0.1:\(server.port)", "-servername", "localhost"] + arguments,
            in: pair.directory
        )
    }

    @Test func theServiceSpeaksTLS12AndLaterWithHTTP11AndSaysSoForAYear() async throws {
        try await withPair { pair in
            let certificate = try TLSCertificate(pair.files)
            try await TestServer.run(configure: { $0.certificate = certificate }) { server in
                let answer = try await curl([], server, pair)
                #expect(answer.hasPrefix("HTTP/1.1 200"))
                #expect(answer.lowercased().contains("strict-transport-security: max-age=31536000"))
                #expect(try await curl(["--tls-max", "1.2"], server, pair).hasPrefix("HTTP/1.1 200"))
                let modern = try await handshake(
                    [
                        "-alpn", "h2,http/1.1", "-CAfile", pair.path("cert.pem"),
                        "-verify_return_error",
                    ],
                    server,
                    pair
                )
                #expect(modern.contains("ALPN protocol: http/1.1"))
                #expect(modern.contains("TLSv1.3"))
                #expect(modern.contains("Verify return code: 0 (ok)"))
                for old in ["-tls1", "-tls1_1"] {
                    await #expect(throws: ChildProcess.Failure.self, "\(old)") {
                        try await handshake([old, "-cipher", "DEFAULT@SECLEVEL=0"], server, pair)
                    }
                }
                // Without TLS nothing is answered.
                let plain = try RawConnection(port: server.port)
                try plain.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(await !plain.answer().contains("200"))
                #expect(plain.isClosed)
            }
        }
    }

    @Test func aRenewedCertificateIsServedWithoutARestartAndABrokenOneIsNot() async throws {
        try await withPair { pair in
            let certificate = try TLSCertificate(pair.files)
            try await TestServer.run(configure: { $0.certificate = certificate }) { server in
                #expect(try await handshake([], server, pair).contains("CN = first"))
                // The certificate of another key: the pair in use stays, and the log says so once.
                try await pair.make("second", days: 60)
                try pair.install(["cert.pem"])
                #expect(try await eventually { server.log.text.contains("the one before stays in use") })
                #expect(try await handshake([], server, pair).contains("CN = first"))
                try pair.install()
                #expect(try await eventually { try await handshake([], server, pair).contains("CN = second") })
                try Data("no certificate".utf8).write(to: URL(fileURLWithPath: pair.path("cert.pem")))
                #expect(try await eventually { server.log.text.contains("holds no certificates") })
                #expect(try await handshake([], server, pair).contains("CN = second"))
                let faults = server.log.lines.filter { $0.contains("the one before stays in use") }
                #expect(faults.count == 2)
                try pair.install()
                let metrics = try await TestTools.run(
                    "curl",
                    ["-sS", "--cacert", pair.path("cert.pem"), "https://localhost:\(server.port)/metrics"],
                    in: pair.directory
                )
                #expect(metrics.contains("turnpike_tls_reloads_total{result=\"failed\"}"))
                let renewed = try TLSCertificate(pair.files)
                #expect(renewed.expiresAt > certificate.expiresAt.adding(seconds: 20 * 86_400))
                #expect(metrics.contains("turnpike_tls_certificate_expiry_seconds "))
            }
        }
    }

    @Test func aKeyThatEverybodyCanReadIsWarnedOf() async throws {
        try await withPair { pair in
            let guarded = try TLSCertificate(pair.files)
            #expect(!guarded.isKeyExposed)
            try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: pair.path("key.pem"))
            let exposed = try TLSCertificate(pair.files)
            try await TestServer.run(configure: { $0.certificate = exposed }) { server in
                #expect(server.log.text.contains("every user can read the TLS key"))
            }
        }
    }

    @Test func faultsOfTheFilesAreToldPrecisely() async throws {
        try await withPair { pair in
            func faults(certificate: String?, key: String?) -> [String] {
                var environment = ["DATABASE_URL": "postgres://u@h/d"]
                environment["TURNPIKE_TLS_CERT"] = certificate
                environment["TURNPIKE_TLS_KEY"] = key
                do {
                    _ = try Configuration(environment: environment)
                    return []
                } catch {
                    return error.faults
                }
            }
            let (certificate, key) = (pair.path("cert.pem"), pair.path("key.pem"))
            try await pair.make("second")
            #expect(faults(certificate: certificate, key: key) == [])
            let cases: [(String?, String?, String)] = [
                (certificate, nil, "TURNPIKE_TLS_CERT needs TURNPIKE_TLS_KEY beside it"),
                (nil, key, "TURNPIKE_TLS_KEY needs TURNPIKE_TLS_CERT beside it"),
                (
                    pair.path("none"), key,
                    "TURNPIKE_TLS_CERT can't be used: '\(pair.path("none"))' can't be read: No such"
                ),
                (certificate, pair.directory.path, "TURNPIKE_TLS_KEY can't be used: '\(pair.directory.path)' can't be"),
                (key, key, "TURNPIKE_TLS_CERT can't be used: '\(key)' holds no certificates"),
                (certificate, certificate, "TURNPIKE_TLS_KEY can't be used: '\(certificate)' holds no private key"),
                (certificate, pair.path("next-key.pem"), "TURNPIKE_TLS_KEY can't be used: the key is not the one of"),
            ]
            for (certificate, key, text) in cases {
                let found = faults(certificate: certificate, key: key)
                #expect(found.count == 1 && found[0].hasPrefix(text), "\(text): \(found)")
            }
        }
    }

    @Test func theURLsOfAServiceWithACertificateAreHTTPS() async throws {
        try await withPair { pair in
            let configuration = try Configuration(
                environment: [
                    "DATABASE_URL": "postgres://u@h/d", "TURNPIKE_MASTER_KEY": TestServer.masterKey,
                    "TURNPIKE_HOST": "0.0.0.0", "TURNPIKE_TLS_CERT": pair.path("cert.pem"),
                    "TURNPIKE_TLS_KEY": pair.path("key.pem"),
                ]
            )
            #expect(configuration.portalURL == "https://127.0.0.1:8080/portal")
            #expect(configuration.oauth?.issuer == "https://127.0.0.1:8080")
        }
    }

    @Test func aHandshakeThatIsNotFinishedHoldsNoConnection() async throws {
        try await withPair { pair in
            let certificate = try TLSCertificate(pair.files)
            try await TestServer.run(configure: {
                $0.certificate = certificate
                $0.readTimeoutSeconds = 1
            }) { server in
                let silent = try RawConnection(port: server.port)
                #expect(await silent.answer() == "")
                #expect(silent.isClosed)
            }
        }
    }
}
