// Made-up requests against the signature check, and bodies against the aws-chunked reader in two ways of cutting them.
#include "await.h"
#include "memory_body.h"
#include "objects/chunked.h"
#include "objects/signature.h"
#include "text/text.h"

using namespace mr;
using namespace mr::objects;

namespace {

const Credentials kKeys{"minio", "minio123"};

// "METHOD path?query", then headers, one a line.
void fuzz_verify(std::string_view input) {
  auto lines = text::split(input, '\n');
  http::Request rq;
  auto blank = lines[0].find(' ');
  rq.method_text = lines[0].substr(0, blank);
  rq.target = blank == std::string_view::npos ? std::string_view("/") : lines[0].substr(blank + 1);
  auto q = rq.target.find('?');
  rq.path = rq.target.substr(0, q);
  if (q != std::string_view::npos) rq.query = rq.target.substr(q + 1);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    auto colon = lines[i].find(':');
    if (colon != std::string_view::npos)
      rq.headers.add(lines[i].substr(0, colon), text::trim(lines[i].substr(colon + 1)));
  }
  auto r = verify(rq, kKeys, 1369353600);
  // Nobody guesses an HMAC: an accepted request is a hole.
  if (r || r.error().reason.empty()) std::abort();
}

struct Outcome {
  std::string body;
  std::string error;
};
Outcome read_in_pieces(std::string_view wire, const Payload& p, std::uint64_t decoded, std::size_t piece) {
  auto inner = testing::MemoryBody::cut(wire, piece);
  ChunkedReader reader(inner, p, decoded);
  Outcome out;
  for (;;) {
    auto got = testing::run_now(reader.read());
    if (!got) {
      out.error = got.error().reason;
      return out;
    }
    if (got->empty()) return out;
    out.body += *got;
  }
}

void fuzz_chunks(std::string_view input, std::uint8_t mode) {
  Payload p;
  p.kind = mode % 3 == 0   ? Payload::Kind::chunked_unsigned_trailer
           : mode % 3 == 1 ? Payload::Kind::chunked_signed
                           : Payload::Kind::chunked_signed_trailer;
  p.signing_key = "key";
  std::uint64_t decoded = mode / 3;
  auto whole = read_in_pieces(input, p, decoded, std::max<std::size_t>(1, input.size()));
  auto bytes = read_in_pieces(input, p, decoded, 1 + mode % 7);
  if (whole.error.empty() && whole.body.size() != decoded) std::abort();
  if (whole.error.empty() != bytes.error.empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  if ((data[0] & 1) != 0)
    fuzz_verify(input);
  else
    fuzz_chunks(input, data[1]);
  return 0;
}
