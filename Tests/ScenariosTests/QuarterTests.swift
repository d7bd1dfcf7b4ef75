import BillingCore
import Foundation
import TestSupport
import Testing
import Web

/// Three months of a company with five plans, one for each family of price models, over HTTP alone: changes, late
/// usage, credits and a credit note. What is invoiced must be what `quarter/ledger.py` works out, which shares no code
/// with it.
@Suite(.timeLimit(.minutes(15)))
struct QuarterTests {
    private static let folder = TestTools.packageRoot.appendingPathComponent("Tests/ScenariosTests/quarter")

    @Test(
        "the committed ledger is what the script works out",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there")
    )
    func ledgerIsWorkedOut() async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let check = """
            import pathlib, subprocess, sys
            folder = pathlib.Path(sys.argv[1])
            ledger = [sys.executable, folder / "ledger.py"]
            made = subprocess.run(ledger, capture_output=True, text=True, check=True).stdout
            sys.exit(made != (folder / "ledger.json").read_text(encoding="utf-8"))
            """
        try await withTemporaryDirectory { directory in
            try await withChildProcess(
                python,
                arguments: ["-c", check, Self.folder.path],
                environment: ["PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"],
                directory: directory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                let output = await child.outputTail()
                #expect(code == 0, "\(output)")
            }
        }
    }

    @Test(
        "given five plans and six customers, when a quarter is over, then every invoice is the ledger's",
        .enabled(if: TestTools.isCI || TestTools.installed("python") != nil, "the virtual environment is not there")
    )
    func threeMonths() async throws {
        let story = try QuarterStory(folder: Self.folder)
        let clock = TestClock("2026-12-31T12:00:00Z")
        try await TestDatabase.with { database in
            for (phase, end) in QuarterStory.phases.enumerated() {
                try await TestServer.run(on: database, clock: clock) { server in
                    if phase == 0 { try await story.arrange(server) }
                    // A service that starts closes what is due before anything else.
                    let due = story.invoices(dueBy: clock.clock.now())
                    let isClosed = try await eventually(within: .seconds(60)) {
                        let listed = try await server.ask("GET", "/invoices?limit=500")["data"]?.elements ?? []
                        let final = listed.count { $0["status"]?.string != "draft" }
                        return listed.count >= due.drafted && final >= due.final
                    }
                    #expect(isClosed, "\(due) invoices are due at \(clock.clock.now())")
                    try await story.play(until: end, server)
                    if phase == QuarterStory.phases.count - 1 { try await Self.expectLedger(story, server) }
                }
            }
        }
    }

    private static func expectLedger(_ story: QuarterStory, _ server: TestServer) async throws {
        let invoices = try await export(server)
        let found = invoices.map(QuarterInvoice.init(exported:))
        for expected in story.ledger {
            let same = found.filter { $0.name == expected.name }
            #expect(same.first == expected, "\(expected.name)")
            #expect(same.count == 1, "\(expected.name)")
        }
        #expect(found.count == story.ledger.count)
        try await expectExportAddsUp(invoices, server)
        try await story.expectCreditNote(server)
        let audit = IngestAudit(
            databaseURL: server.database.url,
            client: server.operatorClient,
            clock: server.clock.clock
        )
        let findings = try await audit.findings([])
        #expect(findings.filter { !$0.hasPrefix("never acknowledged") } == [])
    }

    /// Every finalised invoice with its lines.
    private static func export(_ server: TestServer) async throws -> [JSONValue] {
        let answer = try await server.operatorClient.get("/api/v1/invoices/export?format=ndjson").expecting(200)
        return try answer.text.split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    /// A month's export as CSV comes to the sum of that month's invoices, each currency by itself.
    private static func expectExportAddsUp(_ invoices: [JSONValue], _ server: TestServer) async throws {
        let (from, to) = ("2027-03-01T00:00:00.000000Z", "2027-04-01T00:00:00.000000Z")
        let csv = try await server.operatorClient.get(
            "/api/v1/invoices/export?format=csv&from=\(from)&to=\(to)"
        ).expecting(200)
        var summed: [String: FixedDecimal] = [:]
        for invoice in invoices {
            guard let issued = invoice["issued_at"]?.string, issued >= from, issued < to,
                let name = invoice["currency"]?.string, let subtotal = invoice["subtotal"]?.string
            else { continue }
            summed[name] = try summed[name, default: .zero].adding(FixedDecimal(parsing: subtotal))
        }
        #expect(summed.count == 3)
        let sums = summed.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        try await expectSums(sums, ofCSV: csv.text)
    }

    /// Reads the export with another parser of CSV.
    private static func expectSums(_ sums: [String], ofCSV text: String) async throws {
        let python = try #require(TestTools.installed("python"), "run scripts/test: it makes the environment")
        let check = """
            import collections, csv, decimal, sys
            sums = collections.defaultdict(decimal.Decimal)
            with open("export.csv", encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    sums[row["currency"]] += decimal.Decimal(row["amount"])
            wanted = {name: decimal.Decimal(value) for name, value in (sum.split("=") for sum in sys.argv[1:])}
            print(dict(sums), wanted)
            sys.exit(sums != wanted)
            """
        try await withTemporaryDirectory { directory in
            try Data(text.utf8).write(to: directory.appendingPathComponent("export.csv"))
            try await withChildProcess(
                python,
                arguments: ["-c", check] + sums,
                environment: ["PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"],
                directory: directory
            ) { child in
                let code = try await child.exitCode(within: .seconds(60))
                let output = await child.outputTail()
                #expect(code == 0, "\(output)")
            }
        }
    }
}
