package import BillingCore
import Crypto
import Foundation
import NIOSSL

/// The service's certificate with its chain and key, read from PEM files, ready to serve with.
package struct TLSCertificate: Sendable {
    package struct Files: Sendable, Equatable {
        /// The certificate first, then those that lead to its root.
        package let certificatePath: String
        package let keyPath: String

        package init(certificatePath: String, keyPath: String) {
            self.certificatePath = certificatePath
            self.keyPath = keyPath
        }
    }

    package enum Fault: Error, Equatable, CustomStringConvertible {
        case unreadable(path: String, reason: String)
        case noCertificate(path: String)
        case noKey(path: String)
        case keyOfAnother
        case unusable(String)

        package var description: String {
            switch self {
            case .unreadable(let path, let reason): "'\(path)' can't be read: \(reason)"
            case .noCertificate(let path): "'\(path)' holds no certificates in PEM form"
            case .noKey(let path): "'\(path)' holds no private key in PEM form without a passphrase"
            case .keyOfAnother: "the key is not the one of the certificate"
            case .unusable(let reason): "the certificate is refused: \(reason)"
            }
        }

        package func isOfKey(at path: String) -> Bool {
            switch self {
            case .unreadable(path, _), .noKey(path), .keyOfAnother: true
            default: false
            }
        }
    }

    package let files: Files
    package let expiresAt: Instant
    /// Whether every user of the machine can read the key.
    package let isKeyExposed: Bool
    let context: NIOSSLContext
    /// Of both files' content.
    let digest: [UInt8]

    /// TLS 1.2 and later, and HTTP/1.1 alone.
    package init(_ files: Files) throws(Fault) {
        try self.init(files, Content(files))
    }

    init(_ files: Files, _ content: Content) throws(Fault) {
        self.files = files
        digest = content.digest
        isKeyExposed = Self.isReadableByAll(files.keyPath)
        guard let chain = try? NIOSSLCertificate.fromPEMBytes(content.certificate), let own = chain.first else {
            throw .noCertificate(path: files.certificatePath)
        }
        guard let key = try? NIOSSLPrivateKey(bytes: content.key, format: .pem) else {
            throw .noKey(path: files.keyPath)
        }
        expiresAt = Instant(microseconds: Int64(own.notValidAfter) * 1_000_000)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) },
            privateKey: .privateKey(key)
        )
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            throw .keyOfAnother
        } catch {
            throw .unusable("\(error)")
        }
    }

    private static func isReadableByAll(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
    }
}

extension TLSCertificate {
    /// What stands in the files.
    struct Content {
        let certificate: [UInt8]
        let key: [UInt8]
        let digest: [UInt8]

        init(_ files: Files) throws(Fault) {
            certificate = try Self.bytes(files.certificatePath)
            key = try Self.bytes(files.keyPath)
            var hash = SHA256()
            hash.update(data: certificate)
            hash.update(data: [0])
            hash.update(data: key)
            digest = Array(hash.finalize())
        }

        private static func bytes(_ path: String) throws(Fault) -> [UInt8] {
            let descriptor = open(path, O_RDONLY)
            guard descriptor >= 0 else { throw .unreadable(path: path, reason: String(cString: strerror(errno))) }
            let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            do {
                return try file.read(upToCount: 1 << 20).map { Array($0) } ?? []
            } catch {
                throw .unreadable(path: path, reason: "it is no file")
            }
        }
    }
}
