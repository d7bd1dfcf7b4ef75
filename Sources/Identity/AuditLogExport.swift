import BillingCore
import HTTPTypes
import NIOCore
import Postgres
import Web

/// The audit log as one file, newest first, page by page: memory holds a page, and no statement reads more. NDJSON has
/// the entries as the list answers them.
struct AuditLogExport: Sendable {
    private static let pageSize = 500
    private static let header: [CSVWriter.Field] = [
        "id", "occurred_at", "tenant", "credential_id", "request_id", "action", "resource_type", "resource_key",
        "before", "after",
    ].map(CSVWriter.Field.text)

    let format: ExportFormat
    let filter: AuditLogStore.Filter
    let scope: PostgresScope
    let pool: PostgresPool
    let tenants: TenantDirectory

    /// Reads the first page, so that what can't be read is told as a problem, and leaves the rest to the stream.
    func answer() async throws -> Answer {
        let first = try await page(after: nil)
        var answer = Answer.streaming(
            contentType: format.contentType,
            AnswerStream { send in try await write(from: first, send) }
        )
        answer.headers[.contentDisposition] = #"attachment; filename="audit-log.\#(format.rawValue)""#
        return answer
    }

    private func write(from first: [AuditEntry], _ send: AnswerStream.Send) async throws {
        var page = first
        var writer = CSVWriter()
        if format == .csv { writer.append(Self.header) }
        while true {
            let keys = try await tenants.keys(of: page)
            switch format {
            case .csv:
                for entry in page { writer.append(Self.record(entry, tenantKey: keys[entry.tenantID])) }
                try await send(ByteBuffer(bytes: writer.takeBytes()))
            case .ndjson:
                var bytes = ByteBuffer()
                for entry in page {
                    let body = AuditEntryBody(entry, tenantKey: keys[entry.tenantID])
                    bytes.writeBytes(try JSONValue(encoding: body).bytes)
                    bytes.writeInteger(UInt8(ascii: "\n"))
                }
                try await send(bytes)
            }
            guard page.count == Self.pageSize, let last = page.last else { return }
            try Task.checkCancellation()
            page = try await self.page(after: AuditLogStore.Position(occurredAt: last.occurredAt, id: last.id))
        }
    }

    private func page(after position: AuditLogStore.Position?) async throws -> [AuditEntry] {
        try await AuditLogStore.list(
            filter,
            after: position,
            count: Self.pageSize,
            scope: scope,
            lane: .worker,
            pool: pool
        )
    }

    private static func record(_ entry: AuditEntry, tenantKey: String?) -> [CSVWriter.Field] {
        [
            .text(entry.id.description), .text(entry.occurredAt.description), .optional(tenantKey),
            .text(entry.credentialID), .text(entry.requestID), .text(entry.action), .text(entry.resourceType),
            .text(entry.resourceKey), .optional(entry.before?.text), .optional(entry.after?.text),
        ]
    }
}
