package import NIOCore

/// A body that is made while it is sent, for answers of any length: it goes out in chunks, and a piece is asked for
/// only when the client has taken the ones before it, so that memory holds one piece whatever the length.
///
/// The status is sent before the first piece. What fails afterwards can't become a problem: the connection is closed
/// without the last chunk, which tells the client that the body is not whole.
package struct AnswerStream: Sendable {
    /// Sends one piece and returns when there is room for the next. Throws when the client has gone.
    package typealias Send = (ByteBuffer) async throws -> Void

    let produce: @Sendable (Send) async throws -> Void

    /// - Parameter produce: sends every piece in order, then returns.
    package init(_ produce: @escaping @Sendable (_ send: Send) async throws -> Void) {
        self.produce = produce
    }
}
