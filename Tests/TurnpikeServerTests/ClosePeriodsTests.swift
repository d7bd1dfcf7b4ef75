import TestSupport
import Testing
import Web

/// `turnpike close-periods`, as an operator runs it.
@Suite(.timeLimit(.minutes(15))) struct ClosePeriodsTests {
    @Test func whatIsPutOffIsToldAndFailsUntilItIsDone() async throws {
        try await TestServer.run(clock: TestClock("2025-11-05T00:00:00Z")) { server in
            try await server.addTenant("acme")
            try await server.publish(
                #"{"fees":[{"key":"base","name":"Base","amount":"10","charged":"in_advance"}]}"#
            )
            try await server.subscribe(at: "2025-11-01T00:00:00Z")
            try await server.database.run(
                """
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22003'; END
                $$;
                CREATE TRIGGER refusal BEFORE INSERT ON invoice FOR EACH ROW EXECUTE FUNCTION refuse()
                """
            )
            let first = try await server.turnpike(["close-periods"])
            #expect(first.code == 1, "\(first.output)")
            let lines = first.output.split(separator: "\n").map(String.init)
            let told = "put off: 1 subscription to draft invoices of, 0 drafts to finalise; the first is tried at 20"
            #expect(lines.contains { $0.hasPrefix(told) }, "\(first.output)")
            let logged = lines.compactMap { try? JSONValue(parsing: $0) }
            let settings = "TURNPIKE_INVOICE_GRACE_HOURS=24, TURNPIKE_SELLER_NAME=, TURNPIKE_SELLER_DETAILS="
            #expect(logged.contains { $0["settings"]?.string == settings }, "\(first.output)")
            let faults = logged.filter { $0["level"]?.string == "error" }.compactMap { $0["message"]?.string }
            #expect(faults == ["the invoices of a tenant cannot be drafted, and are put off"])
            let others = lines.filter { line in
                !["closing: ", "closed: ", "put off: ", "{"].contains { line.hasPrefix($0) }
            }
            #expect(others == [], "a line of the log is one of JSON")

            for arguments in [["close-periods"], ["close-periods", "--dry-run"]] {
                let later = try await server.turnpike(arguments)
                #expect(later.code == 1 && later.output.contains("\nput off: 1 subscription "), "\(later.output)")
            }
            try await server.database.run(
                "DROP TRIGGER refusal ON invoice; UPDATE subscription SET closing_put_off_until = NULL"
            )
            let last = try await server.turnpike(["close-periods"])
            #expect(last.code == 0 && !last.output.contains("put off"), "\(last.output)")
        }
    }
}
