import Admission
import BillingCore
import Foundation
import Identity
import Invoicing
import TestSupport
import Testing
import Web
import Webhooks

@testable import TurnpikeServer

@Suite struct ConfigurationTests {
    private let minimal = ["DATABASE_URL": "postgres://u@h/d"]

    @Test func theDefaultsNeedOnlyADatabase() throws {
        let configuration = try Configuration(environment: minimal)
        #expect(configuration.host == "127.0.0.1")
        #expect(configuration.port == 8080)
        #expect(configuration.zone.identifier == "UTC")
        #expect(configuration.migrationURL == "postgres://u@h/d")
        #expect(configuration.migratesOnStart)
        #expect(configuration.interactiveConnections == 4)
        #expect(configuration.batchEvents == 10_000)
        #expect(configuration.eventBodyBytes == 8 * 1024 * 1024)
        #expect(configuration.operatorKey == nil)
        #expect(configuration.admission.deadlineMilliseconds == 200)
        #expect(configuration.admission.deadline.whole <= .milliseconds(250), "admissions are answered by then")
    }

    @Test func everyFaultIsToldAtOnceWithTheNearestName() {
        let fault = #expect(throws: ConfigurationFault.self) {
            _ = try Configuration(
                environment: [
                    "TURNPIKE_PROT": "80", "TURNPIKE_PORT": "http", "TURNPIKE_TIMEZONE": "Berlin",
                    "TURNPIKE_OPERATOR_KEY": "tpk_op_short", "TURNPIKE_LOG_LEVEL": "loud", "TURNPIKE_MIGRATE": "maybe",
                ],
                arguments: ["--batch-event", "5", "--host"]
            )
        }
        let faults = fault?.faults ?? []
        let expected = [
            "DATABASE_URL is not set", "TURNPIKE_PROT is not a setting. Do you mean TURNPIKE_PORT",
            "TURNPIKE_PORT must be a whole number", "TURNPIKE_TIMEZONE must be an IANA time zone",
            "TURNPIKE_OPERATOR_KEY must be", "TURNPIKE_LOG_LEVEL must be one of",
            "TURNPIKE_MIGRATE must be true or false",
            "--batch-event is not an option. Do you mean --batch-events", "--host needs a value",
        ]
        for text in expected {
            #expect(faults.contains { $0.contains(text) }, "\(text) in \(faults)")
        }
        #expect(faults.count == expected.count)
    }

    @Test("variables that are documented for what stands beside the service are no fault in its environment")
    func documentedVariablesAreKnown() throws {
        let files = [
            "README.md", "CONTRIBUTING.md", "docs/operations.md", "docs/integrations.md", "docker-compose.yml",
            "integrations/litellm/turnpike_hook.py",
        ]
        var unknown: Set<Substring> = []
        for file in files {
            let text = try String(contentsOf: TestTools.packageRoot.appendingPathComponent(file), encoding: .utf8)
            unknown.formUnion(text.matches(of: /TURNPIKE_[A-Z_]*[A-Z]/).map(\.output))
        }
        #expect(unknown.contains("TURNPIKE_CLIENT_SECRET") && unknown.contains("TURNPIKE_PORT"))
        for known in Setting.all.map(\.name) + Setting.foreign { unknown.remove(known[...]) }
        #expect(unknown == [])
    }

    @Test func whatKubernetesSaysOfAServiceNamedTurnpikeIsNoSetting() throws {
        let links = [
            "TURNPIKE_SERVICE_HOST": "10.0.0.1", "TURNPIKE_SERVICE_PORT": "80", "TURNPIKE_SERVICE_PORT_HTTP": "80",
            "TURNPIKE_PORT": "tcp://10.0.0.1:80", "TURNPIKE_PORT_80_TCP": "tcp://10.0.0.1:80",
            "TURNPIKE_PORT_80_TCP_PROTO": "tcp", "TURNPIKE_PORT_80_TCP_PORT": "80",
            "TURNPIKE_PORT_80_TCP_ADDR": "10.0.0.1", "TURNPIKE_DB_SERVICE_HOST": "10.0.0.2",
            "TURNPIKE_DB_PORT": "udp://10.0.0.2:5432", "TURNPIKE_DB_PORT_5432_UDP": "udp://10.0.0.2:5432",
        ]
        let linked = try Configuration(environment: minimal.merging(links) { $1 })
        #expect(linked.port == 8080)
        for (name, value) in [
            ("TURNPIKE_PORT", "http://10.0.0.1"), ("TURNPIKE_DB_PORT", "5432"), ("TURNPIKE_SERVICE_HOSTS", "10.0.0.1"),
            ("TURNPIKE_PORT_HTTP", "80"),
        ] {
            #expect(throws: ConfigurationFault.self, "\(name)") {
                try Configuration(environment: minimal.merging([name: value]) { $1 })
            }
        }
    }

    @Test func theSellerHasANameAndLines() throws {
        let named = ["TURNPIKE_SELLER_NAME": "Turnpike Ltd", "TURNPIKE_SELLER_DETAILS": "1 Toll Road; Dublin;;VAT IE1"]
        let seller = try Configuration(environment: minimal.merging(named) { $1 }).seller
        #expect(seller?.name == "Turnpike Ltd")
        #expect(seller?.lines == ["1 Toll Road", "Dublin", "VAT IE1"])
        #expect(try Configuration(environment: minimal).seller == nil)
        #expect(throws: ConfigurationFault.self) {
            try Configuration(environment: minimal.merging(["TURNPIKE_SELLER_DETAILS": "Dublin"]) { $1 })
        }
    }

    @Test func mailNeedsASenderAndAProgramByItsWholePath() throws {
        let from = ["TURNPIKE_MAIL_FROM": "turnpike@example.com"]
        let mail = try Configuration(environment: minimal.merging(from) { $1 }).mail
        #expect(mail?.from.description == "turnpike@example.com" && mail?.path == "/usr/sbin/sendmail")
        #expect(try Configuration(environment: minimal).mail == nil)
        for faulty in [["TURNPIKE_MAIL_FROM": "a@b.c, d@e.f"], ["TURNPIKE_SENDMAIL": "sendmail"]] {
            #expect(throws: ConfigurationFault.self) {
                try Configuration(environment: minimal.merging(from) { $1 }.merging(faulty) { $1 })
            }
        }
    }

    @Test func theOperatorKeyIsNotRepeatedInItsFault() {
        let fault = #expect(throws: ConfigurationFault.self) {
            _ = try Configuration(
                environment: minimal.merging(["TURNPIKE_OPERATOR_KEY": "tpk_operator_hunter2"]) { $1 }
            )
        }
        #expect(fault?.description.contains("hunter2") == false)
        #expect(fault?.description.contains("7 characters") == true)
    }

    @Test(arguments: ["hunter%zz/horse", "hunter2/horse", "hunter@horse"])
    func aPasswordThatIsNotEncodedIsNotRepeatedInItsFault(password: String) {
        let fault = #expect(throws: ConfigurationFault.self) {
            _ = try Configuration(environment: ["DATABASE_URL": "postgres://u:\(password)@h/d"])
        }
        let text = fault?.description ?? ""
        #expect(text.contains("DATABASE_URL is not a valid connection string"))
        #expect(!text.contains("hunter") && !text.contains("horse"))
    }

    @Test func tokensNeedAMasterKeyAndHaveTheListeningAddressAsTheirIssuer() throws {
        #expect(try Configuration(environment: minimal).tokens.masterKey == nil)
        let tokens = try Configuration(
            environment: minimal.merging([
                "TURNPIKE_MASTER_KEY": String(repeating: "a0", count: 32), "TURNPIKE_ISSUER": "https://t.example/auth",
                "TURNPIKE_TOKEN_SECONDS": "60", "TURNPIKE_TOKEN_ALGORITHM": "RS256", "TURNPIKE_SIGNING_KEY_DAYS": "7",
            ]) { $1 }
        ).tokens
        #expect(tokens.masterKey != nil)
        #expect(tokens.issuer == "https://t.example/auth")
        #expect(tokens.lifetimeSeconds == 60)
        #expect(tokens.algorithm == .rs256)
        #expect(tokens.signingKeyDays == 7)
    }

    @Test func faultsOfTokensAreToldAndTheMasterKeyIsNot() {
        let fault = #expect(throws: ConfigurationFault.self) {
            _ = try Configuration(
                environment: minimal.merging([
                    "TURNPIKE_MASTER_KEY": "hunter2", "TURNPIKE_ISSUER": "https://t.example/",
                    "TURNPIKE_TOKEN_SECONDS": "86401", "TURNPIKE_TOKEN_ALGORITHM": "HS256",
                    "TURNPIKE_SIGNING_KEY_DAYS": "0",
                ]) { $1 }
            )
        }
        #expect(fault?.faults.count == 5, "\(fault?.faults ?? [])")
        #expect(fault?.description.contains("TURNPIKE_MASTER_KEY must be 32 random bytes") == true)
        #expect(fault?.description.contains("hunter2") == false)
    }

    @Test func aFlagWinsOverItsVariable() throws {
        let configuration = try Configuration(
            environment: minimal.merging(["TURNPIKE_PORT": "1"]) { $1 },
            arguments: ["--port", "2", "--timezone=Europe/Berlin"]
        )
        #expect(configuration.port == 2)
        #expect(configuration.zone.identifier == "Europe/Berlin")
    }

    @Test func everySettingIsInTheHelp() {
        for setting in Setting.all { #expect(Setting.help.contains(setting.name)) }
        // Longer ones would be wrapped to the left margin.
        #expect(Setting.help.split(separator: "\n").allSatisfy { $0.count <= 80 })
    }

    @Test func theHelpPrefersVariablesForSecrets() {
        let entries = Setting.help.split(whereSeparator: \.isWhitespace).joined(separator: " ").components(
            separatedBy: " --"
        )
        let warned = entries.filter { $0.contains("prefer the variable") }.map { $0.prefix { $0 != " " } }
        #expect(warned == ["--database-url", "migration-url", "operator-key", "master-key"])
    }
}
