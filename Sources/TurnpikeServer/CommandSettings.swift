import Logging
import Postgres

/// What a command beside a service works by.
///
/// Settings are those of the command's own environment and options. Those by which stored data is made or judged are,
/// where these don't say them, what the service was started with last, so that a command makes and judges the same as
/// the service does.
package struct CommandSettings: Sendable {
    private let environment: [String: String]
    private let arguments: [String]
    private let given: Configuration

    /// - Parameters:
    ///   - environment: an empty variable counts as absent.
    ///   - databaseURL: wins over `DATABASE_URL`.
    package init(environment: [String: String], databaseURL: String?) throws(ConfigurationFault) {
        self.environment = environment.filter { !$0.value.isEmpty }
        arguments = databaseURL.map { [Setting.databaseURL.flag, $0] } ?? []
        given = try Configuration(environment: environment, arguments: arguments)
    }

    /// Runs a body on the database, whose schema must be the one of this program.
    /// - Parameter workerTimeoutMilliseconds: how long a statement of the lane `worker` may take; as in a service when
    ///   left out.
    func withDatabase<Value: Sendable>(
        workerTimeoutMilliseconds: Int? = nil,
        logger: Logger,
        _ body: (PostgresPool, Configuration) async throws -> Value
    ) async throws -> Value {
        var postgres = given.postgres
        postgres.worker.statementTimeoutMilliseconds = workerTimeoutMilliseconds
        let pool = PostgresPool(postgres, logger: logger)
        let result: Result<Value, any Error>
        do {
            guard try await Migrations.areCurrent(pool) else {
                throw CommandRefusal(
                    description: "the database's schema is not the one of this program: run 'turnpike migrate'"
                )
            }
            let settings = given.dataSettings.map(\.setting)
            let stored = try await ServiceSettingStore.read(settings, from: pool)
            let configuration = try configuration(beside: stored)
            result = .success(try await body(pool, configuration))
        } catch {
            result = .failure(error)
        }
        await pool.close()
        return try result.get()
    }

    /// What a command goes by of the settings by which stored data is made or judged, for people to read.
    static func text(_ configuration: Configuration, of settings: [Setting]) -> String {
        configuration.dataSettings.filter { one in settings.contains { $0.name == one.setting.name } }
            .map { "\($0.setting.name)=\($0.text)" }.joined(separator: ", ")
    }

    private func configuration(beside stored: [String: String]) throws(ConfigurationFault) -> Configuration {
        var stored = stored
        // A seller is taken whole: nobody's address stands below another's name.
        if environment[Setting.sellerName.name] != nil { stored[Setting.sellerDetails.name] = nil }
        return try Configuration(environment: stored.merging(environment) { $1 }, arguments: arguments)
    }
}

/// Why a command beside a service does nothing, for people to read.
package struct CommandRefusal: Error, CustomStringConvertible {
    package let description: String
}
