package import HTTPTypes
package import NIOCore

/// What a handler returns.
package struct Answer: Sendable {
    package var status: HTTPResponse.Status
    package var headers: HTTPFields
    package var body: ByteBuffer
    /// Sent instead of `body`. Such an answer is never stored for a replay.
    package var stream: AnswerStream?
    /// The answer shows a secret once. If it is stored for an idempotent replay, it is stored encrypted.
    package var bearsSecret = false

    package init(status: HTTPResponse.Status, headers: HTTPFields = [:], body: ByteBuffer = ByteBuffer()) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(status: HTTPResponse.Status = .ok, contentType: String, bytes: some Sequence<UInt8>) {
        self.init(status: status, headers: [.contentType: contentType], body: ByteBuffer(bytes: bytes))
    }

    /// A body that is made while it is sent.
    package static func streaming(contentType: String, _ stream: AnswerStream) -> Answer {
        var answer = Answer(status: .ok, headers: [.contentType: contentType])
        answer.stream = stream
        return answer
    }

    /// The value as JSON, see `JSONValue.init(encoding:)`. With a revision the answer carries its ETag.
    package static func json(
        _ value: some Encodable,
        status: HTTPResponse.Status = .ok,
        revision: Int64? = nil
    ) throws -> Answer {
        var answer = Answer(
            status: status,
            contentType: "application/json",
            bytes: try JSONValue(encoding: value).bytes
        )
        if let revision {
            answer.headers[.eTag] = ETag(revision: revision).fieldValue
        }
        return answer
    }

    /// JSON that is written as it stands.
    package static func json(_ write: (inout JSONWriter) -> Void) -> Answer {
        var writer = JSONWriter()
        write(&writer)
        return Answer(status: .ok, headers: [.contentType: "application/json"], body: writer.buffer)
    }

    /// 201 with the new resource and where it is, below `Operations.basePath`.
    package static func created(_ value: some Encodable, location: String, revision: Int64? = nil) throws -> Answer {
        var answer = try json(value, status: .created, revision: revision)
        answer.headers[.location] = Operations.basePath + location
        return answer
    }

    package static let noContent = Answer(status: .noContent)

    package static func text(_ text: String, contentType: String = "text/plain; charset=utf-8") -> Answer {
        Answer(contentType: contentType, bytes: text.utf8)
    }
}
