import Foundation
import NIOCore
import NIOPosix
import Synchronization

/// Stands between a service and PostgreSQL, sees every statement on its way, and can change one of them: a service that
/// has lost a condition on the tenant, or knows a wrong one, without a change to the service.
package final class StatementTap: Sendable {
    /// One condition of the form `tenant_id = $1` in the text of a statement.
    package struct Filter: Hashable, Sendable, CustomStringConvertible {
        package let statement: String
        /// Which of the statement's conditions, from 0.
        package let occurrence: Int

        package var description: String { "condition \(occurrence) of: \(statement)" }

        /// The statement without the condition. The parameter stays, so that its type does.
        package var remainder: String {
            let range = statement.matches(of: condition)[occurrence].range
            return statement.replacingCharacters(in: range, with: "(\(statement[range]) OR true)")
        }
    }

    fileprivate struct State {
        var rewritten: (statement: String, text: String)?
        var bound: Set<String> = []
        var connections: [ObjectIdentifier: any Channel] = [:]
    }

    /// The port to connect to instead of PostgreSQL's.
    package let port: Int
    private let state: SharedState
    private let listener: any Channel

    /// Shared by the tap and its connections.
    fileprivate final class SharedState: Sendable {
        let value = Mutex(State())
    }

    private init(listener: any Channel, state: SharedState) {
        self.listener = listener
        self.state = state
        port = listener.localAddress?.port ?? 0
    }

    /// Runs a tap in front of the PostgreSQL on this loopback port while `body` does.
    package static func run<Result: Sendable>(
        before port: Int,
        _ body: (StatementTap) async throws -> Result
    ) async throws -> Result {
        let state = SharedState()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(ChannelOptions.autoRead, value: false)
            .childChannelInitializer { client in
                state.value.withLock { $0.connections[ObjectIdentifier(client)] = client }
                client.closeFuture.whenComplete { _ in
                    state.value.withLock { $0.connections[ObjectIdentifier(client)] = nil }
                }
                return ClientBootstrap(group: client.eventLoop)
                    .connect(host: "127.0.0.1", port: port)
                    .flatMapThrowing { server in
                        try server.pipeline.syncOperations.addHandler(Forwarder(to: client))
                        try client.pipeline.syncOperations.addHandler(StatementReader(to: server, state: state))
                    }
                    .flatMap { client.setOption(ChannelOptions.autoRead, value: true) }
            }
            .bind(host: "127.0.0.1", port: 0)
            .get()
        let tap = StatementTap(listener: listener, state: state)
        do {
            let result = try await body(tap)
            try await tap.close()
            return result
        } catch {
            try await tap.close()
            throw error
        }
    }

    /// The statements that were executed since the last call.
    package func takeStatements() -> Set<String> {
        state.value.withLock { state in
            defer { state.bound = [] }
            return state.bound
        }
    }

    /// The conditions on the tenant in a statement's text.
    package static func filters(of statement: String) -> [Filter] {
        statement.matches(of: condition).indices.map { Filter(statement: statement, occurrence: $0) }
    }

    /// From now on PostgreSQL gets another text for this statement, and its own for every other. Every connection is
    /// cut, so that each prepares anew.
    package func rewrite(_ statement: String, as text: String) {
        reconnect { $0.rewritten = (statement, text) }
    }

    /// Statements go through as they are, on new connections.
    package func restore() {
        reconnect { $0.rewritten = nil }
    }

    private func reconnect(_ change: (inout State) -> Void) {
        let connections = state.value.withLock { state in
            change(&state)
            return Array(state.connections.values)
        }
        for connection in connections { connection.close(promise: nil) }
    }

    private func close() async throws {
        try await listener.close()
        restore()
    }

    fileprivate static var condition: Regex<Substring> {
        /(?:[a-z_]+\.)?tenant_id = (?:ANY \(\$[0-9]+(?:::[a-z]+\[\])?\)|\$[0-9]+)/
    }
}

/// Passes on what PostgreSQL answers.
private final class Forwarder: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) {
        self.other = other
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        other.writeAndFlush(unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        other.close(promise: nil)
    }
}

/// Passes on what the service says, message by message (PostgreSQL's protocol, "Message Formats").
private final class StatementReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let server: any Channel
    private let state: StatementTap.SharedState
    private var pending = ByteBuffer()
    private var hasStarted = false
    private var statements: [String: String] = [:]

    init(to server: any Channel, state: StatementTap.SharedState) {
        self.server = server
        self.state = state
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var incoming = unwrapInboundIn(data)
        pending.writeBuffer(&incoming)
        var outgoing = ByteBuffer()
        while let message = nextMessage() { outgoing.writeImmutableBuffer(message) }
        pending.discardReadBytes()
        server.writeAndFlush(outgoing, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        server.close(promise: nil)
    }

    private func nextMessage() -> ByteBuffer? {
        guard hasStarted else { return nextStartupMessage() }
        guard let length = pending.getInteger(at: pending.readerIndex + 1, as: Int32.self),
            let message = pending.readSlice(length: Int(length) + 1)
        else { return nil }
        switch message.getInteger(at: message.readerIndex, as: UInt8.self) {
        case UInt8(ascii: "P"): return parse(message)
        case UInt8(ascii: "B"): bind(message)
        default: break
        }
        return message
    }

    /// What precedes the session has no type byte: requests for encryption and for cancelling, and the start itself.
    private func nextStartupMessage() -> ByteBuffer? {
        guard let length = pending.getInteger(at: pending.readerIndex, as: Int32.self),
            let code = pending.getInteger(at: pending.readerIndex + 4, as: Int32.self),
            let message = pending.readSlice(length: Int(length))
        else { return nil }
        let protocolVersion3: Int32 = 196_608
        hasStarted = code == protocolVersion3
        return message
    }

    private func parse(_ message: ByteBuffer) -> ByteBuffer {
        var rest = message
        rest.moveReaderIndex(forwardBy: 5)
        guard let name = rest.readNullTerminatedString(), let text = rest.readNullTerminatedString() else {
            return message
        }
        statements[name] = text
        let change = state.value.withLock { $0.rewritten }
        var rewritten = ByteBuffer()
        rewritten.writeInteger(UInt8(ascii: "P"))
        rewritten.writeInteger(Int32(0))
        rewritten.writeNullTerminatedString(name)
        rewritten.writeNullTerminatedString(change?.statement == text ? change?.text ?? text : text)
        rewritten.writeBuffer(&rest)
        rewritten.setInteger(Int32(rewritten.readableBytes - 1), at: rewritten.readerIndex + 1)
        return rewritten
    }

    private func bind(_ message: ByteBuffer) {
        var rest = message
        rest.moveReaderIndex(forwardBy: 5)
        guard rest.readNullTerminatedString() != nil, let name = rest.readNullTerminatedString(),
            let text = statements[name]
        else { return }
        state.value.withLock { _ = $0.bound.insert(text) }
    }
}
