// One request to an upstream server over HTTP/1.1, its answer handed on as it comes. Connections are kept and used
// again, a pool a loop. Not thread safe: everything happens on the loop that called.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "http/message.h"
#include "task/task.h"

namespace mr::gateway {

struct Outgoing {
  std::string ip;
  std::uint16_t port = 0;
  std::string method, target;
  http::Headers headers;             // all of them, Host too; without those of the connection and of the body's framing
  std::optional<std::string> whole;  // the body, when it is in memory: then it can be sent again
  http::BodyReader* stream = nullptr;
  std::string upgrade;  // what to switch to ("websocket"); the answer may then be a 101 with an upgrade handler
  long connect_timeout_ms = 10'000;
  long timeout_ms = 0;  // from here to the last byte of the answer; 0: none
};

struct Trouble {
  enum class Kind : std::uint8_t { connect, reset, timeout, client };  // client: its body did not come
  Kind kind = Kind::connect;
  std::string text;
  Error of_client;
};

// `keep` lives as long as the answer is under way.
task::Task<std::expected<http::Response, Trouble>> forward(Outgoing out, std::shared_ptr<void> keep = {});

// Headers that belong to one connection, not to the message: never passed on.
bool is_connection_header(std::string_view name);

}  // namespace mr::gateway
