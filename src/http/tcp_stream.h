// Byte streams to other servers over TCP, opened and used on the current loop. Addresses are literal: no
// name is looked up here. Ownership and thread safety as for ByteStream.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "http/byte_stream.h"

namespace mr::http {

// `ip` is an IPv4 or IPv6 address. Errors: unavailable (refused, unreachable), deadline_exceeded, invalid_argument.
task::Task<Result<std::unique_ptr<ByteStream>>> connect_tcp(std::string ip, std::uint16_t port,
                                                            int timeout_ms = 10'000);
// Owns `fd`, a connected stream socket (also one end of a socketpair).
std::unique_ptr<ByteStream> socket_stream(int fd);
// For a stream made above that is kept for later: true while the other side has neither sent nor closed.
bool quiet(ByteStream& stream);

}  // namespace mr::http
