/// A fast 64-bit mixing hash that is the same in every process and on every machine.
///
/// Two words are folded by one full-width multiplication, the high half xor the low half, as in the wyhash family. It
/// is not keyed and no security boundary: whoever wants two different texts with the same hash can make them. Hashes
/// are stored, so the function and its constants may never change.
@usableFromInline package enum JSONHash {
    @inlinable package static var first: UInt64 { 0x9E37_79B9_FF4A_7C15 }
    @inlinable package static var second: UInt64 { 0xD1B5_4A32_D1FF_D6E9 }

    @inlinable @inline(__always) package static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = (left ^ first).multipliedFullWidth(by: right ^ second)
        return product.high ^ product.low
    }

    @inlinable package static func bytes(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let count = bytes.count
        var state = UInt64(truncatingIfNeeded: count) &* 0xA076_1D64_78BD_642F
        if count <= 16 {
            return short(bytes, state)
        }
        var index = 0
        while count - index > 16 {
            state = mix(state ^ word(bytes, index), word(bytes, index + 8))
            index += 16
        }
        return mix(state ^ word(bytes, count - 16), word(bytes, count - 8))
    }

    @inlinable static func short(_ bytes: UnsafeRawBufferPointer, _ state: UInt64) -> UInt64 {
        let count = bytes.count
        if count >= 8 {
            return mix(state ^ word(bytes, 0), word(bytes, count - 8))
        }
        if count >= 4 {
            return mix(state ^ halfWord(bytes, 0), halfWord(bytes, count - 4))
        }
        if count > 0 {
            let three = UInt64(bytes[0]) << 16 | UInt64(bytes[count >> 1]) << 8 | UInt64(bytes[count - 1])
            return mix(state ^ three, state)
        }
        return mix(state, state)
    }

    @inlinable @inline(__always) static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    @inlinable @inline(__always) static func halfWord(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
    }
}
