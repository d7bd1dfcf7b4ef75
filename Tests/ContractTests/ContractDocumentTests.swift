import Foundation
import TestSupport
import Testing
import Web
import Yams

struct ContractDocumentTests {
    @Test(
        "the document is valid OpenAPI 3.1, and its examples fit their schemas",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there")
    )
    func isValid() async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let script = TestTools.packageRoot.appendingPathComponent("Tests/ContractTests/check_document.py")
        try await withTemporaryDirectory { directory in
            try await withChildProcess(
                python,
                arguments: [script.path, ContractDocument.file.path],
                environment: ["PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"],
                directory: directory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                let output = await child.outputTail()
                #expect(code == 0, "\(output)")
            }
        }
    }

    @Test("operations have distinct ids and places")
    func operationsAreDistinct() throws {
        let operations = try ContractDocument().operations()
        #expect(Set(operations.map(\.id)).count == operations.count)
        #expect(Set(operations.map { "\($0.method) \($0.path)" }).count == operations.count)
        #expect(!operations.isEmpty)
    }

    @Test("every operation under /api needs a scope, and says how it refuses")
    func refusalsAreDocumented() throws {
        for (operation, node) in try ContractDocument().operationNodes() {
            #expect(operation.isOpen == !operation.path.hasPrefix("/api/"), "\(operation)")
            let statuses = Set(node["responses"]?.mapping?.keys.compactMap(\.string) ?? [])
            let needed: Set<String> = operation.isOpen ? ["200"] : ["400", "401", "403", "429", "500", "503"]
            #expect(statuses.isSuperset(of: needed), "\(operation) lacks \(needed.subtracting(statuses).sorted())")
            // Also a body that nobody asked for is read, but for that of a check, which asks in header fields.
            if node["requestBody"] != nil || operation.method != "GET" && operation.id != "checkPosted" {
                #expect(statuses.isSuperset(of: ["413", "415"]), "\(operation)")
            }
        }
    }

    @Test("objects in request bodies say which members they may have")
    func requestObjectsAreClosed() throws {
        // What these hold is the caller's own, as extension attributes of events are, or unknown members are ignored
        // because OAuth (RFC 6749) or JWK (RFC 7517) says so.
        let open: Set<String> = [
            "Metadata", "EventData", "CloudEvent", "PlainEvent", "TokenRequest", "TokenQuestion", "ECPublicKey",
            "RSAPublicKey",
        ]
        let document = try ContractDocument()
        for name in try document.requestSchemas().subtracting(open) {
            let schema = try document.schema(name)
            guard schema["type"]?.string == "object", schema["properties"] != nil else { continue }
            #expect(schema["additionalProperties"]?.bool == false, "\(name)")
        }
    }

    @Test("the presets are those of the program, scope by scope")
    func presetsAreDocumented() throws {
        let schema = try ContractDocument().schema("ScopePreset")
        let names = schema["enum"]?.sequence?.compactMap(\.string) ?? []
        #expect(names == ScopePreset.allCases.map(\.rawValue))
        // What is everything needs no list that grows with every scope.
        for preset in ScopePreset.allCases where preset.scopes != .all {
            let scopes = schema["x-turnpike-presets"]?[preset.rawValue]?.sequence?.compactMap(\.string)
            #expect(scopes == preset.scopes.names, "\(preset)")
        }
    }

    @Test("what creates or acts takes an Idempotency-Key, but for what has an identity of its own or changes nothing")
    func postsAreIdempotent() throws {
        for (operation, node) in try ContractDocument().operationNodes() where operation.method == "POST" {
            let parameters = node["parameters"]?.sequence?.compactMap { $0["$ref"]?.string } ?? []
            let takesKey = parameters.contains("#/components/parameters/IdempotencyKey")
            let changesNothingTwice = [
                "ingestEvents", "tryPlanVersion", "admit", "checkPosted", "releaseAdmission", "extendAdmission",
            ].contains(operation.id)
            #expect(takesKey == !(changesNothingTwice || operation.isOpen), "\(operation)")
        }
    }

    @Test("what takes an Idempotency-Key says how a repeated answer is told, and a file what it is called")
    func headersAreDocumented() throws {
        let document = try ContractDocument()
        for (operation, node) in try document.operationNodes() {
            let parameters = node["parameters"]?.sequence?.compactMap { $0["$ref"]?.string } ?? []
            let takesKey = parameters.contains("#/components/parameters/IdempotencyKey")
            for (status, response) in node["responses"]?.mapping ?? [:] where status.string?.hasPrefix("2") == true {
                let answer = try document.resolved(response)
                let headers = answer["headers"]
                #expect(!takesKey || headers?["Idempotency-Replayed"] != nil, "\(operation)")
                let types = Set(answer["content"]?.mapping?.keys.compactMap(\.string) ?? [])
                guard operation.path.hasPrefix("/api/"),
                    !types.isDisjoint(with: ["application/pdf", "text/csv", "text/html"])
                else {
                    continue
                }
                #expect(headers?["Content-Disposition"] != nil, "\(operation)")
            }
        }
    }
}
