// A container's log on disk: one folder a container, one file a start (0.log, 1.log), in the form that kubelets write
// (`2026-11-25T12:30:49.123456789Z stdout F text`), rotated to N.log.1 … N.log.4 at 10 MiB.
// Writer: one thread at a time. Changes: any thread; readers on other loops wait on it.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/fd.h"
#include "http/message.h"
#include "kube/pods.h"
#include "task/loop.h"

namespace mr::node {

// Wakes those who read a log behind its writer.
class Changes {
 public:
  // One more change; `over`: no further one comes.
  void bump(bool over = false);
  struct Seen {
    std::uint64_t count = 0;
    bool over = false;
  };
  [[nodiscard]] Seen now() const;
  // Resumes on the caller's loop once there is a change after `seen`.
  auto after(Seen seen) {
    struct Awaiter {
      Changes& c;
      Seen seen;
      bool await_ready() const { return c.now().count != seen.count || c.now().over; }
      bool await_suspend(std::coroutine_handle<> h) { return c.suspend(seen, h); }
      void await_resume() const {}
    };
    return Awaiter{*this, seen};
  }

 private:
  bool suspend(Seen seen, std::coroutine_handle<> h);
  mutable std::mutex mutex_;
  Seen state_;
  std::vector<std::pair<task::Loop*, std::coroutine_handle<>>> waiting_;
};

inline constexpr std::size_t kLogFileLimit = 10U << 20;
inline constexpr int kLogFiles = 5;

class LogWriter {
 public:
  // Appends to `folder`/`start`.log.
  static Result<std::unique_ptr<LogWriter>> open(const std::string& folder, int start, std::shared_ptr<Changes> changes,
                                                 std::size_t limit = kLogFileLimit);
  ~LogWriter();
  // Output as it came, cut anywhere. `stream`: "stdout", "stderr". Lines are kept together; very long ones are cut.
  void append(std::string_view stream, std::string_view bytes);
  // Writes what has no line end yet, and tells readers that this is all.
  void finish();
  // The last `bytes` at most of what was written, without time stamps (a terminated container's message).
  [[nodiscard]] std::string tail(std::size_t bytes) const;

 private:
  LogWriter() = default;
  void line(std::string_view stream, bool full, std::string_view text, std::string& out);
  void stamp(std::string& out);
  void put(std::string_view record);
  std::string path_;
  Fd fd_;
  std::size_t size_ = 0, limit_ = 0;
  std::string partial_[2];
  std::string last_;
  std::int64_t now_ns_ = 0, second_ = -1;  // of the last line's stamp, and its text up to the second
  std::string second_text_;
  std::shared_ptr<Changes> changes_;
  bool finished_ = false;
};

// The log of start number `start` as `options` want it. With `follow` it goes on until `changes` is over; `changes`
// may be null. Errors: not_found when nothing was ever logged there.
Result<http::StreamBody> read_log(const std::string& folder, int start, const kube::LogOptions& options,
                                  std::shared_ptr<Changes> changes);

// "2026-11-25T12:30:49.123456789Z"
std::string nano_text(std::int64_t unix_ns);

}  // namespace mr::node
