#include "crypto/jwt.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "crypto/digest.h"

namespace mr::crypto {

namespace {

constexpr std::size_t kHalf = 32;  // bytes of each of the two numbers of a signature

std::string base64url(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(n));
  while (out.ends_with('=')) out.pop_back();
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}
// Strict: nullopt for padding, foreign characters, and bits that do not belong to a byte.
std::optional<std::string> from_base64url(std::string_view text) {
  std::string out;
  std::uint32_t held = 0;
  int bits = 0;
  for (char c : text) {
    int v = c >= 'A' && c <= 'Z'   ? c - 'A'
            : c >= 'a' && c <= 'z' ? c - 'a' + 26
            : c >= '0' && c <= '9' ? c - '0' + 52
            : c == '-'             ? 62
            : c == '_'             ? 63
                                   : -1;
    if (v < 0) return std::nullopt;
    held = held << 6 | static_cast<std::uint32_t>(v);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out += static_cast<char>(held >> bits & 0xFF);
    }
  }
  if (bits >= 6 || (held & ((1U << bits) - 1)) != 0) return std::nullopt;
  return out;
}

std::unexpected<Error> forged() { return fail(Code::unauthenticated, "the token is not valid"); }

}  // namespace

struct JwtKey::Impl {
  EVP_PKEY* key = nullptr;
  std::string id;
  std::string header;  // encoded: the same for all tokens of this key
  std::string x, y;
  ~Impl() { EVP_PKEY_free(key); }

  static Result<std::shared_ptr<const Impl>> make(EVP_PKEY* k) {
    auto impl = std::make_shared<Impl>();
    impl->key = k;
    BIGNUM* x = nullptr;
    BIGNUM* y = nullptr;
    char group[64] = "";
    std::size_t n = 0;
    bool ok = k != nullptr && EVP_PKEY_get_group_name(k, group, sizeof group, &n) == 1 &&
              std::string_view(group) == "prime256v1" && EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_X, &x) == 1 &&
              EVP_PKEY_get_bn_param(k, OSSL_PKEY_PARAM_EC_PUB_Y, &y) == 1;
    auto bytes = [](BIGNUM* v) {
      std::string out(kHalf, '\0');
      BN_bn2binpad(v, reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(out.size()));
      return base64url(out);
    };
    if (ok) {
      impl->x = bytes(x);
      impl->y = bytes(y);
    }
    BN_free(x);
    BN_free(y);
    ERR_clear_error();
    if (!ok) return fail(Code::invalid_argument, "not a private key on P-256 in PEM");
    // The key's thumbprint (RFC 7638).
    impl->id = base64url(
        digest(Algorithm::sha256, fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})", impl->x, impl->y)));
    impl->header = base64url(fmt::format(R"({{"alg":"ES256","kid":"{}","typ":"JWT"}})", impl->id));
    return impl;
  }
};

Result<JwtKey> JwtKey::generate() {
  MR_TRY(auto impl, Impl::make(EVP_EC_gen("P-256")));
  return JwtKey(std::move(impl));
}
Result<JwtKey> JwtKey::from_pem(std::string_view pem) {
  BIO* b = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  EVP_PKEY* key = PEM_read_bio_PrivateKey(b, nullptr, nullptr, nullptr);
  BIO_free(b);
  MR_TRY(auto impl, Impl::make(key));
  return JwtKey(std::move(impl));
}
std::string JwtKey::pem() const {
  BIO* b = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(b, impl_->key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  long n = BIO_get_mem_data(b, &data);
  std::string out(data, static_cast<std::size_t>(n));
  BIO_free(b);
  return out;
}
const std::string& JwtKey::id() const { return impl_->id; }

Result<std::string> JwtKey::sign(std::string_view claims) const {
  std::string token = impl_->header + "." + base64url(claims);
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  std::string der(128, '\0');
  std::size_t n = der.size();
  bool ok = EVP_DigestSignInit(ctx, nullptr, EVP_sha256(), nullptr, impl_->key) == 1 &&
            EVP_DigestSign(ctx, reinterpret_cast<unsigned char*>(der.data()), &n,
                           reinterpret_cast<const unsigned char*>(token.data()), token.size()) == 1;
  EVP_MD_CTX_free(ctx);
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* sig = ok ? d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(n)) : nullptr;
  if (sig == nullptr) {
    ERR_clear_error();
    return fail(Code::internal, "a token could not be signed");
  }
  std::string raw(2 * kHalf, '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, kHalf);
  BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + kHalf, kHalf);
  ECDSA_SIG_free(sig);
  return token + "." + base64url(raw);
}

Result<std::string> JwtKey::verify(std::string_view token) const {
  auto first = token.find('.');
  auto last = token.rfind('.');
  if (token.size() > 64 * 1024 || first == std::string_view::npos || last <= first + 1) return forged();
  // Our own header to the byte: there is no choice of algorithm to be tricked with.
  if (token.substr(0, first) != impl_->header) return forged();
  auto claims = from_base64url(token.substr(first + 1, last - first - 1));
  auto raw = from_base64url(token.substr(last + 1));
  if (!claims || !raw || raw->size() != 2 * kHalf) return forged();
  ECDSA_SIG* sig = ECDSA_SIG_new();
  const auto* in = reinterpret_cast<const unsigned char*>(raw->data());
  ECDSA_SIG_set0(sig, BN_bin2bn(in, kHalf, nullptr), BN_bin2bn(in + kHalf, kHalf, nullptr));
  unsigned char* der = nullptr;
  int size = i2d_ECDSA_SIG(sig, &der);
  ECDSA_SIG_free(sig);
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  auto signed_text = token.substr(0, last);
  bool ok = size > 0 && EVP_DigestVerifyInit(ctx, nullptr, EVP_sha256(), nullptr, impl_->key) == 1 &&
            EVP_DigestVerify(ctx, der, static_cast<std::size_t>(size),
                             reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size()) == 1;
  EVP_MD_CTX_free(ctx);
  OPENSSL_free(der);
  ERR_clear_error();
  if (!ok) return forged();
  return std::move(*claims);
}

std::string JwtKey::jwks() const {
  return fmt::format(
      R"({{"keys":[{{"use":"sig","kty":"EC","kid":"{}","crv":"P-256","alg":"ES256","x":"{}","y":"{}"}}]}})", impl_->id,
      impl_->x, impl_->y);
}

}  // namespace mr::crypto
