import ArgumentParser
import Foundation
import NIOCore
import TurnpikeServer

/// The options that are settings: they are read by `Configuration`, which knows the environment too and tells every
/// fault at once.
enum Options {
    static func configuration(_ options: [String], of command: any ParsableCommand.Type) throws -> Configuration {
        let help: Set<String> = ["-h", "--help", "-help", "help"]
        guard !options.contains(where: help.contains) else { throw CleanExit.helpRequest(command) }
        do {
            return try Configuration(environment: ProcessInfo.processInfo.environment, arguments: options)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            throw ExitCode.validationFailure
        }
    }
}

extension Error {
    /// Whether another program listens where this one is to.
    var isPortTaken: Bool { (self as? IOError)?.errnoCode == EADDRINUSE }

    /// Whether the address to listen on is none, or none of this machine's.
    var isHostUnknown: Bool {
        (self as? IOError)?.errnoCode == EADDRNOTAVAIL || self is SocketAddressError
            || self is SocketAddressError.UnknownHost
    }
}
