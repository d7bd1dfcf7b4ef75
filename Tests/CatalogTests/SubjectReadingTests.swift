import BillingCore
import Postgres
import Synchronization
import Testing

@testable import Catalog

@Suite struct SubjectReadingTests {
    private static let nothing = LoadedTenants(entries: [], tenants: [])

    /// Lets 200 ask while the first reading is under way, and tells of which subjects each reading was.
    private static func readings(
        _ read: @escaping @Sendable (Set<ExactText>) throws -> Void = { _ in }
    ) async throws -> (readings: [Set<ExactText>], failed: [Int]) {
        let reading = SubjectReading()
        let (isUnderWay, begun) = AsyncStream<Void>.makeStream()
        let (mayEnd, end) = AsyncStream<Void>.makeStream()
        let seen = Mutex<[Set<ExactText>]>([])
        let perform = { @Sendable (subjects: Set<ExactText>) async throws -> LoadedTenants in
            let isFirst = seen.withLock { seen in
                seen.append(subjects)
                return seen.count == 1
            }
            if isFirst {
                begun.finish()
                for await _ in mayEnd {}
            }
            try read(subjects)
            return nothing
        }
        async let first = reading.run(["first"], perform)
        for await _ in isUnderWay {}
        let failed: [Int] = await withTaskGroup(of: Int?.self) { group in
            for caller in 0..<200 {
                group.addImmediateTask {
                    do {
                        _ = try await reading.run(["s\(caller)"], perform)
                        return nil
                    } catch {
                        return caller
                    }
                }
            }
            end.finish()
            return await group.reduce(into: []) { failed, caller in if let caller { failed.append(caller) } }
        }
        _ = try await first
        return (seen.withLock { $0 }, failed)
    }

    @Test func whoAsksMeanwhileIsServedByTheNextReadings() async throws {
        let (readings, failed) = try await Self.readings()
        #expect(readings.first == ["first"] && readings.count <= 4 && failed.isEmpty)
        #expect(Set(readings.dropFirst().joined()) == Set((0..<200).map { "s\($0)" }))
    }

    @Test func aRowThatCannotBeReadFailsNobodyElse() async throws {
        let (_, failed) = try await Self.readings { subjects in
            if subjects.contains("s7") { throw PostgresError(.decoding, "a bad row") }
        }
        #expect(failed == [7])
    }

    @Test func aDatabaseThatIsAwayFailsAllWhoWait() async throws {
        let (readings, failed) = try await Self.readings { subjects in
            if subjects != ["first"] { throw PostgresError(.connection, "it is away") }
        }
        #expect(readings.count <= 4 && failed.count == 200)
    }
}
