#include "serving/onnx/worker.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <new>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/onnx/exchange.h"
#include "serving/onnx/external_data.h"
#include "serving/python/wire.h"

namespace mr::serving::onnx {

namespace {

bool read_exactly(int fd, std::string& out, std::size_t n) {
  out.resize(n);
  std::size_t at = 0;
  while (at < n) {
    auto got = ::read(fd, out.data() + at, n - at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += static_cast<std::size_t>(got);
  }
  return true;
}

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

std::string message(std::int64_t id, std::string_view members, std::string_view payload = {}) {
  auto header = fmt::format(R"({{"id":{},{}}})", id, members);
  const auto header_size = static_cast<std::uint32_t>(header.size());
  const auto payload_size = static_cast<std::uint64_t>(payload.size());
  std::string out = "MRW1";
  out.append(reinterpret_cast<const char*>(&header_size), sizeof header_size);
  out.append(reinterpret_cast<const char*>(&payload_size), sizeof payload_size);
  out += header;
  out += payload;
  return out;
}

std::string refusal(std::int64_t id, std::string_view kind, std::string_view why) {
  auto members = fmt::format(R"("ok":false,"kind":"{}","error":)", kind);
  json::append_string(members, why);
  return message(id, members);
}

std::string_view kind_of(Code code) {
  switch (code) {
    case Code::invalid_argument:
      return "input";
    case Code::resource_exhausted:
      return "memory";
    case Code::unimplemented:
      return "unsupported";
    default:
      return "model";
  }
}

Result<Answered> compute(Session& session, const boost::json::value& header, std::string_view payload) {
  MR_TRY(auto feeds, feeds_of(header, payload, session.inputs()));
  MR_TRY(auto values, session.run(feeds));
  return answer_of(session.outputs(), values, json::string_or_empty(header, "kind") == "frame");
}

}  // namespace

std::string answer_message(Session& session, std::string_view header, std::string_view payload) {
  std::int64_t id = 0;
  try {
    auto doc = json::parse(header);
    if (!doc || !doc->is_object()) return refusal(id, "model", "a request that cannot be read");
    if (const auto* v = json::find(*doc, "id"); v != nullptr && v->is_int64()) id = v->get_int64();
    auto answer = compute(session, *doc, payload);
    if (answer) return message(id, answer->members, answer->payload);
    const auto& e = answer.error();
    const auto kind = e.code == Code::unimplemented ? std::string_view("model") : kind_of(e.code);
    if (kind == "model") fmt::print(stderr, "{}\n", e.message);
    return refusal(id, kind, e.message);
  } catch (const std::bad_alloc&) {
    return refusal(id, "memory", "there is no more memory");
  }
}

int run_worker(const WorkerArgs& args) {
  if (args.memory > 0) {
    const auto limit = static_cast<rlim_t>(args.memory);
    const rlimit most{limit, limit};
    if (::setrlimit(RLIMIT_DATA, &most) != 0) return 1;
  }
  auto opened = [&]() -> Result<std::unique_ptr<Session>> {
    try {
      MR_CHECK(check_external_data(args.model));
      MR_TRY(auto session, Session::open(args.library, args.model, args.session));
      if (auto why = not_taken(session->inputs(), session->outputs()); !why.empty())
        return fail(Code::unimplemented, why);
      return session;
    } catch (const std::bad_alloc&) {
      return fail(Code::resource_exhausted, "there is no more memory");
    }
  }();
  if (!opened) {
    (void)write_all(args.fd, refusal(0, kind_of(opened.error().code), opened.error().message));
    return 1;
  }
  auto& session = **opened;
  if (!write_all(args.fd, message(0, ready_members(session.version(), session.inputs(), session.outputs())))) return 1;
  std::string head, header, payload;
  while (read_exactly(args.fd, head, python::kHeadBytes)) {
    auto sizes = python::read_head(head);
    if (!sizes) return 1;
    try {
      if (!read_exactly(args.fd, header, sizes->header) || !read_exactly(args.fd, payload, sizes->payload)) return 0;
    } catch (const std::bad_alloc&) {
      return 1;  // the request's size is what the program was told to give
    }
    if (!write_all(args.fd, answer_message(session, header, payload))) return 0;
    if (payload.capacity() > 1 << 20) std::string().swap(payload);
  }
  return 0;
}

}  // namespace mr::serving::onnx
