use super::super::{ChannelBindings, said};
use super::*;
use alloc::borrow::ToOwned;

/// An exchange with a given nonce, which the constructor would encode.
fn scram(hash: ScramHash, nonce: &str) -> Scram {
    let mut scram =
        Scram::new(hash, None, "user", &"pencil".into(), b"", Binding::Unsupported, Iterations::default()).unwrap();
    scram.nonce = nonce.into();
    scram.client_first_bare = format!("n=user,r={nonce}");
    scram
}

fn text(secret: Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

/// What is said to a challenge.
fn answer(scram: &mut Scram, challenge: &[u8]) -> String {
    text(said(scram.respond(challenge)))
}

const SERVER_FIRST_256: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

// C-126: the example of RFC 5802 section 5.
#[test]
fn the_example_of_scram_sha_1() {
    let mut scram = scram(ScramHash::Sha1, "fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(text(scram.initial_response().unwrap()), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(
        answer(&mut scram, b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"),
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    );
    assert_eq!(scram.verify_success(), Err(SaslError::ServerUnproven));
    assert_eq!(answer(&mut scram, b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="), "");
    assert_eq!(scram.verify_success(), Ok(()));
}

// C-126, C-117: the example of RFC 7677 section 3.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn the_example_of_scram_sha_256() {
    let mut scram = scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
    let response = answer(&mut scram, SERVER_FIRST_256.as_bytes());
    assert_eq!(
        response,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    scram.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    assert_eq!(scram.verify_success(), Ok(()));
    assert!(scram.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").is_err());
}

// C-126: the same with the third hash, for which no RFC has an example: these are of Python's hashlib. S-60: what is shown
// of an exchange is how far it has come.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn sha_512_and_what_is_shown() {
    let mut scram = scram(ScramHash::Sha512, "rOprNGfwEbeRWgbNEkqO");
    let shown = |scram: &Scram| {
        let shown = format!("{scram:?}");
        assert!(shown.contains("password: Secret(6 octets)"), "{shown}");
        shown.split("state: ").last().unwrap().split(',').next().unwrap().to_owned()
    };
    assert_eq!((scram.name(), scram.exposes_password(), shown(&scram).as_str()), ("SCRAM-SHA-512", false, "First"));
    assert!(
        answer(&mut scram, SERVER_FIRST_256.as_bytes())
            .ends_with("p=gMGXRcevScNtxZ6/8lQYpGtnsNAc3mGcmNomv+xnoOMw+3R2xNJdMNnzMlTN8PPC6wdp6dybEmDYXYTxwnYPJQ==")
    );
    assert_eq!(shown(&scram), "Proven");
    let last = "v=ZQnYEgWQMFmmsM8aQMF0nDDCy/AgCzkwk8CmMZYcMg0vSVlKDanekLtifDSeVGT4+5ZxXnJq199RVG2rR7N7Zw==";
    assert_eq!((answer(&mut scram, last.as_bytes()), scram.verify_success()), (String::new(), Ok(())));
    assert_eq!(shown(&scram), "Done");
    let mut scram = self::scram(ScramHash::Sha512, "rOprNGfwEbeRWgbNEkqO");
    assert!(matches!(scram.respond(SERVER_FIRST_256.replace("4096", "5000").as_bytes()), Ok(Response::Later)));
    assert_eq!(shown(&scram), "Proving");
    assert!(scram.respond(b"").is_err());
    assert_eq!(shown(&scram), "Failed");
    for (hash, plus, name) in [
        (ScramHash::Sha1, true, "SCRAM-SHA-1-PLUS"),
        (ScramHash::Sha256, false, "SCRAM-SHA-256"),
        (ScramHash::Sha256, true, "SCRAM-SHA-256-PLUS"),
        (ScramHash::Sha512, true, "SCRAM-SHA-512-PLUS"),
    ] {
        assert_eq!(hash.mechanism(plus), name);
    }
}

// C-126, S-34: every attribute of the server's first message, changed: no proof is given, and none is computed for an
// absurd number of iterations.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn a_changed_first_message_gets_no_proof() {
    for (from, to) in [
        ("r=rOpr", "r=xOpr"),
        ("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", ""),
        ("r=", "R="),
        ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s="),
        ("s=W22ZaJ0SNY7soEsUEjb6gQ==", "s=W22ZaJ0SNY7soEsUEjb6gQ"),
        (",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", ",i=4096,s=W22ZaJ0SNY7soEsUEjb6gQ=="),
        ("i=4096", "i=4095"),
        ("i=4096", "i=1"),
        ("i=4096", "i=0"),
        ("i=4096", "i=-1"),
        ("i=4096", "i=04096"),
        ("i=4096", "i=1000001"),
        ("i=4096", "i=4294967295"),
        ("i=4096", "i=4294967297"),
        ("i=4096", "i="),
        ("i=4096", ""),
        ("i=4096", "i=4096,m=x"),
        ("i=4096", "i=4096,i=4096"),
        ("i=4096", "i=4096,x=1,x=2"),
        ("i=4096", "i=4096,x"),
    ] {
        let mut scram = scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
        let changed = SERVER_FIRST_256.replacen(from, to, 1);
        assert!(scram.respond(changed.as_bytes()).is_err(), "{changed}");
        assert!(scram.respond(SERVER_FIRST_256.as_bytes()).is_err(), "an exchange that failed does not go on");
    }
    let extended = format!("{SERVER_FIRST_256},x=1");
    assert!(scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO").respond(extended.as_bytes()).is_ok());
}

// S-37: many iterations are done some at a time, with the same result; nothing else can be asked meanwhile.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn long_proofs_are_made_in_parts() {
    let first = SERVER_FIRST_256.replace("i=4096", "i=10001");
    let mut scram = scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
    let mut parts = 1;
    let mut response = scram.respond(first.as_bytes()).unwrap();
    while matches!(response, Response::Later) {
        response = scram.resume().unwrap();
        parts += 1;
    }
    assert_eq!(parts, 3);
    let Response::Say(proof) = response else { panic!("{response:?}") };
    // Computed by Python's hashlib.
    assert!(text(proof).ends_with("p=dG1HMSKx5pE2HMgnoIqnnTWFQny7zBvWtF56H/LPs8Q="));
    assert!(scram.resume().is_err());
    let mut interrupted = self::scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
    assert!(matches!(interrupted.respond(first.as_bytes()), Ok(Response::Later)));
    assert!(interrupted.respond(first.as_bytes()).is_err());
    assert!(interrupted.resume().is_err());
}

// C-116, S-52: a server that cannot prove itself is not believed.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn a_server_has_to_prove_itself() {
    for (last, error) in [
        ("v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", SaslError::ServerUnproven),
        ("v=", SaslError::ServerUnproven),
        ("v=***", SaslError::MalformedChallenge),
        ("", SaslError::MalformedChallenge),
    ] {
        let mut scram = scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
        scram.respond(SERVER_FIRST_256.as_bytes()).unwrap();
        assert_eq!(scram.respond(last.as_bytes()).unwrap_err(), error, "{last}");
        assert_eq!(scram.verify_success(), Err(SaslError::ServerUnproven));
    }
}

// C-116: a refusal within the exchange is answered, and kept for the failure that follows; success after it is none.
#[test]
#[cfg_attr(miri, ignore = "thousands of rounds of a hash")]
fn a_refusal_within_the_exchange() {
    let mut scram = scram(ScramHash::Sha256, "rOprNGfwEbeRWgbNEkqO");
    scram.respond(SERVER_FIRST_256.as_bytes()).unwrap();
    assert_eq!(answer(&mut scram, b"e=invalid-proof"), "");
    assert_eq!(scram.verify_success(), Err(SaslError::ServerUnproven));
    assert_eq!(scram.server_error().unwrap(), b"invalid-proof");
    assert_eq!(scram.respond(b"").unwrap_err(), SaslError::UnexpectedChallenge);
}

// C-127: what this side knows of channel binding is in the header, which the proof covers.
#[test]
fn the_header_says_what_was_offered() {
    let header = |binding, authzid| {
        let mut scram =
            Scram::new(ScramHash::Sha1, authzid, "u=s,r", &"p".into(), b"abc", binding, Iterations::default()).unwrap();
        (text(scram.initial_response().unwrap()), scram.name().len())
    };
    assert_eq!(header(Binding::Unsupported, None), ("n,,n=u=3Ds=2Cr,r=YWJj".into(), "SCRAM-SHA-1".len()));
    assert_eq!(header(Binding::NotOffered, Some("a,b")).0, "y,a=a=2Cb,n=u=3Ds=2Cr,r=YWJj");
    let to = |bindings: ChannelBindings| bindings.preferred().map(|(name, octets)| Binding::To(name, octets.into()));
    let exporter = ChannelBindings { tls_exporter: Some(vec![1]), ..ChannelBindings::default() };
    let bound = header(to(exporter).unwrap(), None);
    assert_eq!(bound, ("p=tls-exporter,,n=u=3Ds=2Cr,r=YWJj".into(), "SCRAM-SHA-1-PLUS".len()));
    let end_point = ChannelBindings { tls_server_end_point: Some(vec![1]), ..ChannelBindings::default() };
    assert!(header(to(end_point).unwrap(), None).0.starts_with("p=tls-server-end-point,,"));
}

// RFC 4013: non-ASCII credentials are prepared, so that they match what the server stored.
#[cfg(feature = "saslprep")]
#[test]
fn credentials_are_prepared() {
    assert_eq!(&*prepared("\u{2168}").unwrap(), "IX");
    assert_eq!(&*prepared("I\u{ad}X").unwrap(), "IX");
    assert_eq!(prepared("\u{7}"), Err(SaslError::Prohibited));
    assert_eq!(prepared_password(&vec![0xff].into()).unwrap().expose(), [0xff]);
}
