#include "node/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>

#include "text/text.h"
#include "time/clock.h"

namespace mr::node {

void Changes::bump(bool over) {
  decltype(waiting_) woken;
  {
    std::lock_guard lock(mutex_);
    ++state_.count;
    state_.over = state_.over || over;
    woken.swap(waiting_);
  }
  for (auto& [loop, h] : woken) loop->post([h] { h.resume(); });
}
Changes::Seen Changes::now() const {
  std::lock_guard lock(mutex_);
  return state_;
}
bool Changes::suspend(Seen seen, std::coroutine_handle<> h) {
  std::lock_guard lock(mutex_);
  if (state_.count != seen.count || state_.over) return false;
  waiting_.emplace_back(task::Loop::current(), h);
  return true;
}

std::string nano_text(std::int64_t ns) {
  auto seconds = static_cast<std::time_t>(ns / 1'000'000'000);
  std::tm t{};
  ::gmtime_r(&seconds, &t);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour,
                     t.tm_min, t.tm_sec, ns % 1'000'000'000);
}

namespace {

constexpr long kLookMs = 5000;                   // between two looks whether a reader's client is there
constexpr std::size_t kLongestLine = 16 * 1024;  // a longer one goes on in further records, as container runtimes do

std::int64_t wall_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string file_of(const std::string& folder, int start) { return fmt::format("{}/{}.log", folder, start); }

}  // namespace

Result<std::unique_ptr<LogWriter>> LogWriter::open(const std::string& folder, int start,
                                                   std::shared_ptr<Changes> changes, std::size_t limit) {
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  std::unique_ptr<LogWriter> w(new LogWriter);
  w->path_ = file_of(folder, start);
  w->fd_ = Fd(::open(w->path_.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0640));
  if (!w->fd_) return fail_errno(w->path_, errno);
  struct stat st{};
  if (::fstat(w->fd_.get(), &st) == 0) w->size_ = static_cast<std::size_t>(st.st_size);
  w->limit_ = limit;
  w->changes_ = std::move(changes);
  return w;
}

LogWriter::~LogWriter() { finish(); }

// Each line a little later than the one before. The clock is asked once for each piece of output, and the text of a
// second is made once: a flood of short lines spends its time here.
void LogWriter::stamp(std::string& out) {
  const auto ns = now_ns_++;
  if (const auto second = ns / 1'000'000'000; second != second_) {
    second_ = second;
    second_text_ = nano_text(second * 1'000'000'000).substr(0, 20);  // up to the point
  }
  char digits[10] = {'0', '0', '0', '0', '0', '0', '0', '0', '0', 'Z'};
  auto rest = ns % 1'000'000'000;
  for (int i = 8; rest > 0; --i, rest /= 10) digits[i] = static_cast<char>('0' + rest % 10);
  out += second_text_;
  out.append(digits, sizeof digits);
}

void LogWriter::line(std::string_view stream, bool full, std::string_view text, std::string& out) {
  stamp(out);
  out += ' ';
  out += stream;
  out += full ? " F " : " P ";
  out += text;
  out += '\n';
}

void LogWriter::append(std::string_view stream, std::string_view bytes) {
  now_ns_ = std::max(wall_ns(), now_ns_);
  last_ += bytes;
  if (last_.size() > 8192) last_.erase(0, last_.size() - 4096);
  auto& partial = partial_[stream == "stderr" ? 1 : 0];
  std::string out;
  while (!bytes.empty()) {
    auto end = bytes.find('\n');
    auto piece = bytes.substr(0, end);
    auto room = kLongestLine - partial.size();
    if (piece.size() > room) {
      partial += piece.substr(0, room);
      line(stream, false, partial, out);
      partial.clear();
      bytes.remove_prefix(room);
      continue;
    }
    partial += piece;
    if (end == std::string_view::npos) break;
    line(stream, true, partial, out);
    partial.clear();
    bytes.remove_prefix(end + 1);
  }
  if (!out.empty()) put(out);
}

void LogWriter::put(std::string_view record) {
  if (size_ > 0 && size_ + record.size() > limit_) {
    for (int i = kLogFiles - 1; i > 0; --i) {
      auto from = i == 1 ? path_ : fmt::format("{}.{}", path_, i - 1);
      ::rename(from.c_str(), fmt::format("{}.{}", path_, i).c_str());
    }
    fd_ = Fd(::open(path_.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0640));
    size_ = 0;
  }
  size_ += record.size();
  // A full disk loses log lines, as it does on any node; it must not end the container.
  [[maybe_unused]] auto put = ::write(fd_.get(), record.data(), record.size());
  if (changes_) changes_->bump();
}

void LogWriter::finish() {
  if (std::exchange(finished_, true)) return;
  now_ns_ = std::max(wall_ns(), now_ns_);
  std::string out;
  // `P`: it had no line end, and reading it back adds none.
  if (!partial_[0].empty()) line("stdout", false, partial_[0], out);
  if (!partial_[1].empty()) line("stderr", false, partial_[1], out);
  if (!out.empty()) put(out);
  if (changes_) changes_->bump(true);
}

std::string LogWriter::tail(std::size_t bytes) const {
  return last_.size() <= bytes ? last_ : last_.substr(last_.size() - bytes);
}

namespace {

class Reader {
 public:
  Reader(std::string path, kube::LogOptions options, std::shared_ptr<Changes> changes)
      : path_(std::move(path)), options_(std::move(options)), changes_(std::move(changes)) {}

  Result<void> open() {
    for (int i = kLogFiles - 1; i >= 0; --i) {
      auto name = i == 0 ? path_ : fmt::format("{}.{}", path_, i);
      Fd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
      if (fd) files_.push_back(std::move(fd));
    }
    if (files_.empty()) return fail(Code::not_found, "no log at " + path_);
    if (options_.since_seconds) since_ = wall_ns() - *options_.since_seconds * 1'000'000'000;
    if (!options_.since_time.empty()) {
      auto since = time::parse_rfc3339_ns(options_.since_time);
      if (!since) return fail(Code::invalid_argument, "invalid sinceTime " + options_.since_time);
      since_ = *since;
    }
    if (options_.limit_bytes) left_ = *options_.limit_bytes;
    if (options_.tail_lines) seek_tail(*options_.tail_lines);
    if (options_.tail_lines && *options_.tail_lines == 0 && !options_.follow) left_ = 0;
    return {};
  }

  task::Task<Result<std::string>> next() {
    while (left_ != 0) {
      auto seen = changes_ ? changes_->now() : Changes::Seen{0, true};
      std::string out;
      while (out.size() < 32 * 1024) {
        char buffer[32 * 1024];
        auto n = ::pread(files_[at_].get(), buffer, sizeof buffer, offset_);
        if (n <= 0) {
          if (at_ + 1 < files_.size()) {
            ++at_;
            offset_ = 0;
            continue;
          }
          if (!follow_rotation()) break;
          continue;
        }
        offset_ += n;
        pending_.append(buffer, static_cast<std::size_t>(n));
        render(out);
      }
      if (!out.empty()) {
        if (left_ > 0) {
          if (static_cast<std::int64_t>(out.size()) > left_) out.resize(static_cast<std::size_t>(left_));
          left_ -= static_cast<std::int64_t>(out.size());
        }
        co_return out;
      }
      if (!options_.follow || seen.over || (options_.gone && options_.gone->load(std::memory_order_relaxed))) break;
      if (options_.gone && !alive_) {
        alive_ = std::make_shared<bool>(true);
        task::detach(wake_when_gone(changes_, options_.gone, alive_));
      }
      co_await changes_->after(seen);
    }
    co_return std::string();
  }

 private:
  // A reader that waits for lines does not see that its client went away: a change that is none wakes it.
  static task::Task<void> wake_when_gone(std::weak_ptr<Changes> changes, std::shared_ptr<std::atomic<bool>> gone,
                                         std::weak_ptr<bool> alive) {
    while (!alive.expired() && !gone->load(std::memory_order_relaxed)) co_await task::sleep_ms(kLookMs);
    if (auto c = changes.lock(); c && !alive.expired()) c->bump();
  }
  // The newest file was renamed while we stood at its end: the next one is at the path now.
  bool follow_rotation() {
    struct stat ours{}, there{};
    if (::fstat(files_[at_].get(), &ours) != 0 || ::stat(path_.c_str(), &there) != 0 || ours.st_ino == there.st_ino)
      return false;
    // What was written between our read and the renaming stands in the old one still.
    if (offset_ < ours.st_size) return true;
    Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return false;
    files_.push_back(std::move(fd));
    ++at_;
    offset_ = 0;
    return true;
  }

  void seek_tail(std::int64_t lines) {
    std::int64_t found = 0;
    for (std::size_t f = files_.size(); f-- > 0;) {
      struct stat st{};
      if (::fstat(files_[f].get(), &st) != 0) continue;
      off_t end = st.st_size;
      std::string carry;  // the beginning of the line whose end was seen in a later block
      off_t pos = end;
      char buffer[32 * 1024];
      std::string block;
      while (pos > 0) {
        off_t from = std::max<off_t>(0, pos - static_cast<off_t>(sizeof buffer));
        auto n = ::pread(files_[f].get(), buffer, static_cast<std::size_t>(pos - from), from);
        if (n <= 0) break;
        block.assign(buffer, static_cast<std::size_t>(n));
        block += carry;
        // Records in `block`, from the last: the first one may lack its beginning unless from == 0.
        std::size_t stop = block.size();
        while (stop > 0) {
          auto start = stop >= 2 ? block.rfind('\n', stop - 2) : std::string::npos;
          if (start == std::string::npos && from > 0) break;
          auto begin = start == std::string::npos ? 0 : start + 1;
          if (is_line_end(std::string_view(block).substr(begin, stop - begin)) && ++found > lines) {
            at_ = f;
            offset_ = from + static_cast<off_t>(stop);
            return;
          }
          stop = begin;
        }
        carry = block.substr(0, stop);
        pos = from;
      }
    }
    at_ = 0;
    offset_ = 0;
  }

  static bool is_line_end(std::string_view record) {
    auto a = record.find(' ');
    auto b = a == std::string_view::npos ? a : record.find(' ', a + 1);
    return b != std::string_view::npos && b + 1 < record.size() && record[b + 1] == 'F';
  }

  void render(std::string& out) {
    std::size_t from = 0;
    for (;;) {
      auto end = pending_.find('\n', from);
      if (end == std::string::npos) break;
      std::string_view record(pending_.data() + from, end - from);
      from = end + 1;
      auto a = record.find(' ');
      auto b = a == std::string_view::npos ? a : record.find(' ', a + 1);
      auto c = b == std::string_view::npos ? b : record.find(' ', b + 1);
      if (c == std::string_view::npos) continue;
      if (since_ > 0 && time::parse_rfc3339_ns(record.substr(0, a)) < since_) continue;
      if (options_.timestamps && !in_line_) {
        out += record.substr(0, a);
        out += ' ';
      }
      out += record.substr(c + 1);
      in_line_ = record[b + 1] == 'P';
      if (!in_line_) out += '\n';
    }
    pending_.erase(0, from);
  }

  std::string path_;
  kube::LogOptions options_;
  std::shared_ptr<Changes> changes_;
  std::shared_ptr<bool> alive_;  // while this is
  std::vector<Fd> files_;        // oldest first
  std::size_t at_ = 0;
  off_t offset_ = 0;
  std::string pending_;
  std::int64_t since_ = 0, left_ = -1;
  bool in_line_ = false;
};

}  // namespace

Result<http::StreamBody> read_log(const std::string& folder, int start, const kube::LogOptions& options,
                                  std::shared_ptr<Changes> changes) {
  auto reader = std::make_shared<Reader>(file_of(folder, start), options, std::move(changes));
  MR_CHECK(reader->open());
  return http::StreamBody([reader]() { return reader->next(); });
}

}  // namespace mr::node
