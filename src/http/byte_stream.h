// Bytes both ways between two ends: a taken-over connection, a TCP client, a stream inside a multiplexed connection.
// Ownership: the holder destroys it when no call is pending. Not thread safe: one loop, at most one reader and one
// writer at a time.
#pragma once
#include <string_view>

#include "core/error.h"
#include "task/task.h"

namespace mr::http {

class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Some bytes, valid until the next call; empty at the end of what the other side sends.
  virtual task::Task<Result<std::string_view>> read() = 0;
  // Returns when all of it was taken. The bytes must stay valid until then.
  virtual task::Task<Result<void>> write(std::string_view bytes) = 0;
  // Tells the other side that no more comes; reading goes on.
  virtual task::Task<Result<void>> shutdown_write() = 0;
  // Ends both ways at once; calls under way return an error soon. Idempotent.
  virtual void close() = 0;
};

// Copies both ways until both have ended, passing on the end of each (half-close). An error of either side closes
// both. Returns when nothing is pending any more.
task::Task<void> pump(ByteStream& a, ByteStream& b);

}  // namespace mr::http
