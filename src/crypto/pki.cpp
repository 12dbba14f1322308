#include "crypto/pki.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include "core/fd.h"

namespace mr::crypto {

namespace {

struct Free {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(X509_EXTENSION* p) const { X509_EXTENSION_free(p); }
  void operator()(GENERAL_NAMES* p) const { GENERAL_NAMES_free(p); }
};
template <class T>
using Ptr = std::unique_ptr<T, Free>;

std::unexpected<Error> broken(std::string_view what) {
  char text[256] = "";
  if (auto e = ERR_get_error(); e != 0) ERR_error_string_n(e, text, sizeof text);
  ERR_clear_error();
  return fail(Code::internal, std::string(what), {}, text);
}

std::string drain(BIO* b) {
  char* data = nullptr;
  long n = BIO_get_mem_data(b, &data);
  return {data, static_cast<std::size_t>(n)};
}
std::string to_pem(X509* c) {
  Ptr<BIO> b(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(b.get(), c);
  return drain(b.get());
}
std::string to_pem(EVP_PKEY* k) {
  Ptr<BIO> b(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(b.get(), k, nullptr, nullptr, 0, nullptr, nullptr);
  return drain(b.get());
}
Ptr<X509> certificate_of(std::string_view pem) {
  Ptr<BIO> b(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Ptr<X509> c(PEM_read_bio_X509(b.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return c;
}
Ptr<EVP_PKEY> key_of(std::string_view pem) {
  Ptr<BIO> b(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Ptr<EVP_PKEY> k(PEM_read_bio_PrivateKey(b.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return k;
}

bool add_name(X509_NAME* name, int kind, const std::string& value) {
  return X509_NAME_add_entry_by_NID(name, kind, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), -1, 0) == 1;
}

// A blank certificate: version, random serial, validity from five minutes ago (clocks differ) for `days`.
Ptr<X509> blank(EVP_PKEY* key, int days) {
  Ptr<X509> c(X509_new());
  X509_set_version(c.get(), 2);
  unsigned char serial[16];
  RAND_bytes(serial, sizeof serial);
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7F) | 0x40);  // positive, of full length
  BIGNUM* n = BN_bin2bn(serial, sizeof serial, nullptr);
  BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c.get()));
  BN_free(n);
  X509_gmtime_adj(X509_getm_notBefore(c.get()), -300);
  X509_time_adj_ex(X509_getm_notAfter(c.get()), days, 0, nullptr);
  X509_set_pubkey(c.get(), key);
  return c;
}

bool extend(X509* c, X509* issuer, int kind, const char* value) {
  X509V3_CTX ctx;
  X509V3_set_ctx(&ctx, issuer, c, nullptr, nullptr, 0);
  Ptr<X509_EXTENSION> e(X509V3_EXT_conf_nid(nullptr, &ctx, kind, value));
  return e && X509_add_ext(c, e.get(), -1) == 1;
}

bool alternative_names(X509* c, const CertificateSpec& spec) {
  Ptr<GENERAL_NAMES> names(GENERAL_NAMES_new());
  for (const auto& dns : spec.dns_names) {
    bool plain = !dns.empty() && dns.size() <= 253;
    for (char ch : dns)
      plain = plain && (std::isalnum(static_cast<unsigned char>(ch)) || ch == '-' || ch == '.' || ch == '*');
    if (!plain) return false;
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    ASN1_STRING_set(text, dns.data(), static_cast<int>(dns.size()));
    GENERAL_NAME* g = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(g, GEN_DNS, text);
    sk_GENERAL_NAME_push(names.get(), g);
  }
  for (const auto& ip : spec.addresses) {
    ASN1_OCTET_STRING* bytes = a2i_IPADDRESS(ip.c_str());
    if (bytes == nullptr) return false;
    GENERAL_NAME* g = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(g, GEN_IPADD, bytes);
    sk_GENERAL_NAME_push(names.get(), g);
  }
  return X509_add1_ext_i2d(c, NID_subject_alt_name, names.get(), 0, 0) == 1;
}

std::vector<std::string> name_entries(X509* c, int kind) {
  std::vector<std::string> out;
  auto* name = X509_get_subject_name(c);
  for (int at = -1; (at = X509_NAME_get_index_by_NID(name, kind, at)) >= 0;) {
    unsigned char* text = nullptr;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (n >= 0) out.emplace_back(reinterpret_cast<char*>(text), static_cast<std::size_t>(n));
    OPENSSL_free(text);
  }
  return out;
}

Result<std::string> read_file(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno("cannot open " + path, errno);
  std::string out(64 * 1024, '\0');
  ssize_t n = ::read(fd.get(), out.data(), out.size());
  if (n < 0) return fail_errno("cannot read " + path, errno);
  out.resize(static_cast<std::size_t>(n));
  return out;
}

}  // namespace

Result<KeyPair> make_authority(const std::string& common_name) {
  Ptr<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (!key) return broken("no key could be made");
  auto c = blank(key.get(), 3650);
  auto* name = X509_get_subject_name(c.get());
  if (!add_name(name, NID_commonName, common_name))
    return fail(Code::invalid_argument, fmt::format("'{}' cannot be the name of an authority", common_name));
  X509_set_issuer_name(c.get(), name);
  if (!extend(c.get(), c.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !extend(c.get(), c.get(), NID_key_usage, "critical,digitalSignature,keyCertSign,cRLSign") ||
      !extend(c.get(), c.get(), NID_subject_key_identifier, "hash") || X509_sign(c.get(), key.get(), EVP_sha256()) == 0)
    return broken("the authority's certificate could not be made");
  return KeyPair{to_pem(c.get()), to_pem(key.get())};
}

Result<KeyPair> issue_certificate(const KeyPair& authority, const CertificateSpec& spec) {
  auto issuer = certificate_of(authority.certificate_pem);
  auto issuer_key = key_of(authority.key_pem);
  if (!issuer || !issuer_key) return fail(Code::invalid_argument, "the authority's certificate or key is not PEM");
  Ptr<EVP_PKEY> key(EVP_EC_gen("P-256"));
  if (!key) return broken("no key could be made");
  auto c = blank(key.get(), spec.days);
  auto* name = X509_get_subject_name(c.get());
  for (const auto& o : spec.organizations)
    if (!add_name(name, NID_organizationName, o))
      return fail(Code::invalid_argument, fmt::format("'{}' cannot be an organization in a certificate", o));
  if (!add_name(name, NID_commonName, spec.common_name))
    return fail(Code::invalid_argument, fmt::format("'{}' cannot be the name in a certificate", spec.common_name));
  X509_set_issuer_name(c.get(), X509_get_subject_name(issuer.get()));
  bool server = !spec.dns_names.empty() || !spec.addresses.empty();
  if (server && !alternative_names(c.get(), spec))
    return fail(Code::invalid_argument, fmt::format("a host name or address for '{}' is malformed", spec.common_name));
  if (!extend(c.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE") ||
      !extend(c.get(), issuer.get(), NID_key_usage, "critical,digitalSignature") ||
      !extend(c.get(), issuer.get(), NID_ext_key_usage, server ? "serverAuth" : "clientAuth") ||
      !extend(c.get(), issuer.get(), NID_authority_key_identifier, "keyid:always") ||
      X509_sign(c.get(), issuer_key.get(), EVP_sha256()) == 0)
    return broken("the certificate could not be made");
  return KeyPair{to_pem(c.get()), to_pem(key.get())};
}

Result<CertificateInfo> read_certificate(std::string_view pem) {
  auto c = certificate_of(pem);
  if (!c) return fail(Code::invalid_argument, "not a certificate in PEM");
  CertificateInfo out;
  if (auto names = name_entries(c.get(), NID_commonName); !names.empty()) out.common_name = names.front();
  out.organizations = name_entries(c.get(), NID_organizationName);
  Ptr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(c.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    int kind = 0;
    auto* value = static_cast<ASN1_STRING*>(GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind));
    const auto* bytes = ASN1_STRING_get0_data(value);
    auto size = static_cast<std::size_t>(ASN1_STRING_length(value));
    if (kind == GEN_DNS) out.dns_names.emplace_back(reinterpret_cast<const char*>(bytes), size);
    char text[INET6_ADDRSTRLEN];
    if (kind == GEN_IPADD && (size == 4 || size == 16) &&
        ::inet_ntop(size == 4 ? AF_INET : AF_INET6, bytes, text, sizeof text) != nullptr)
      out.addresses.emplace_back(text);
  }
  tm t{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(c.get()), &t) == 1) out.not_after = ::timegm(&t);
  return out;
}

Result<void> write_private_file(const std::string& path, std::string_view text) {
  std::string temporary = path + ".new";
  ::unlink(temporary.c_str());
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return fail_errno("cannot create " + temporary, errno);
  while (!text.empty()) {
    ssize_t n = ::write(fd.get(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("cannot write " + temporary, errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd.get()) != 0) return fail_errno("cannot sync " + temporary, errno);
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail_errno("cannot rename to " + path, errno);
  return {};
}

Result<KeyPair> load_or_make_pair(const std::string& prefix, const std::function<Result<KeyPair>()>& make) {
  std::string crt = prefix + ".crt";
  std::string key = prefix + ".key";
  bool has_crt = ::access(crt.c_str(), F_OK) == 0;
  bool has_key = ::access(key.c_str(), F_OK) == 0;
  if (has_key && !has_crt) has_key = false;  // a kill between the two writes below: the key was never used
  if (has_crt && !has_key)
    return fail(Code::failed_precondition, fmt::format("{} is there but {} is missing", crt, key));
  if (!has_crt) {
    MR_TRY(auto pair, make());
    MR_CHECK(write_private_file(key, pair.key_pem));
    MR_CHECK(write_private_file(crt, pair.certificate_pem));
    return pair;
  }
  KeyPair pair;
  MR_TRY(pair.certificate_pem, read_file(crt));
  MR_TRY(pair.key_pem, read_file(key));
  auto c = certificate_of(pair.certificate_pem);
  auto k = key_of(pair.key_pem);
  if (!c || !k || X509_check_private_key(c.get(), k.get()) != 1) {
    ERR_clear_error();
    return fail(Code::failed_precondition, fmt::format("{} and {} do not belong together", crt, key));
  }
  return pair;
}

}  // namespace mr::crypto
