// Reads a platform certificate with Bouncy Castle, the library that paccor is
// built on, checks its signature, and prints what the test compares.
import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import org.bouncycastle.asn1.x509.Attribute;
import org.bouncycastle.cert.X509AttributeCertificateHolder;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.operator.ContentVerifierProvider;
import org.bouncycastle.operator.jcajce.JcaContentVerifierProviderBuilder;

class ReadCertificate {
    public static void main(String[] args) throws Exception {
        byte[] der = Files.readAllBytes(Path.of(args[0]));
        X509Certificate issuer;
        try (FileInputStream in = new FileInputStream(args[1])) {
            issuer = (X509Certificate) CertificateFactory.getInstance("X.509", new BouncyCastleProvider()).generateCertificate(in);
        }
        ContentVerifierProvider by = new JcaContentVerifierProviderBuilder().setProvider(new BouncyCastleProvider()).build(issuer);
        if (args[2].equals("pkc")) {
            X509CertificateHolder c = new X509CertificateHolder(der);
            System.out.println("valid " + c.isSignatureValid(by));
            System.out.println("serial " + c.getSerialNumber());
            return;
        }
        X509AttributeCertificateHolder c = new X509AttributeCertificateHolder(der);
        System.out.println("valid " + c.isSignatureValid(by));
        System.out.println("serial " + c.getSerialNumber());
        System.out.println("holder " + c.getHolder().getSerialNumber());
        for (Attribute a : c.getAttributes()) {
            System.out.println("attribute " + a.getAttrType().getId() + " " + a.getAttrValues().size());
        }
        System.out.println("same " + java.util.Arrays.equals(der, c.toASN1Structure().getEncoded("DER")));
    }
}
